// Values inside the page: Base64 of gzip of JSON, unpacked when they are first needed.

/** A part of the page by its name; null if the page has none of this name. */
export async function part(name) {
  const holder = document.querySelector(`script[data-part="${CSS.escape(name)}"]`);
  if (!holder) return null;
  const packed = Uint8Array.from(atob(holder.textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).json();
}
