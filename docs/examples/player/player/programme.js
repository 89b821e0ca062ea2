// What is played: lengths and positions are in seconds of content.

export const programme = {
  id: "harbour-lights",
  name: "Harbour Lights",
  length: 30,
  ads: [
    { id: "ferry", name: "Take the Ferry", length: 3, at: 0 },
    { id: "lighthouse", name: "Visit the Lighthouse", length: 3, at: 15 },
  ],
};
