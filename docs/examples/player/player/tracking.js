// Reports playback to a server of the Media Collection API.
// https://experienceleague.adobe.com/en/docs/media-analytics/using/implementation/analytics-only/streaming-media-apis/mc-api-overview

const CONTENT_PING_MS = 10_000;
const AD_PING_MS = 1_000;

export class Tracking {
  #events = null; // path of the session's events, once the server has opened it
  #sent = Promise.resolve();
  #ping = { every: CONTENT_PING_MS, at: Infinity };
  #ts = 0;

  /**
   * @param {string} server URL of the tracking server.
   * @param {Video} video What is played.
   */
  constructor(server, video) {
    this.server = server.replace(/\/$/, "");
    this.video = video;
    const { programme } = video;
    this.#report("sessionStart", {
      "analytics.trackingServer": "metrics.harbour.example",
      "analytics.reportSuite": "harbour",
      "analytics.visitorId": "visitor-4711",
      "visitor.marketingCloudOrgId": "harbour@AdobeOrg",
      "media.id": programme.id,
      "media.name": programme.name,
      "media.length": programme.length,
      "media.contentType": "vod",
      "media.streamType": "video",
      "media.playerName": "harbour-player",
      "media.channel": "harbour.example",
      "media.sdkVersion": "1.4.0",
    });
    video.addEventListener("adstart", ({ detail }) => this.#adStarts(detail));
    video.addEventListener("adend", () => this.#adEnds());
    video.addEventListener("play", () => this.#plays());
    video.addEventListener("tick", () => this.#pingWhenDue());
    video.addEventListener("ended", () => this.#ends());
  }

  /** Resolves when everything that was reported so far has been sent. */
  sent() {
    return this.#sent;
  }

  #adStarts({ ad, number }) {
    this.#report("adBreakStart", {
      "media.ad.podFriendlyName": ad.at === 0 ? "pre-roll" : "mid-roll",
      "media.ad.podIndex": number,
      "media.ad.podSecond": ad.at,
    });
    this.#report("adStart", {
      "media.ad.id": ad.id,
      "media.ad.name": ad.name,
      "media.ad.length": ad.length,
      "media.ad.podPosition": 1,
      "media.ad.playerName": "harbour-player",
    });
    this.#report("play"); // the first one of each ad belongs to the ad
    this.#pingEvery(AD_PING_MS);
  }

  #adEnds() {
    this.#report("adComplete");
    this.#report("adBreakComplete");
  }

  #plays() {
    this.#report("play");
    this.#pingEvery(CONTENT_PING_MS);
  }

  #ends() {
    this.#report("sessionComplete");
    this.#report("sessionEnd");
    this.#ping.at = Infinity;
  }

  #pingEvery(every) {
    this.#ping = { every, at: this.video.now() + every };
  }

  #pingWhenDue() {
    if (this.video.now() < this.#ping.at) return;
    this.#report("ping");
    this.#ping.at += this.#ping.every;
  }

  /** Queue an event: it happens now, and is sent when all events before it have been sent. */
  #report(eventType, params) {
    this.#ts = Math.max(this.video.now(), this.#ts + 1); // so that no two events have the same time
    const event = { playerTime: { playhead: this.video.currentTime, ts: this.#ts }, eventType, params };
    this.#sent = this.#sent.then(() => this.#send(event)).catch((error) => console.warn(`${eventType}: ${error}`));
  }

  async #send(event) {
    if (event.eventType === "sessionStart") {
      const answer = await this.#post("/api/v1/sessions", event);
      this.#events = `${answer.headers.get("Location").replace(/^.*(?=\/api\/)/, "")}/events`;
    } else if (this.#events) {
      await this.#post(this.#events, event);
    }
  }

  /** Send a request. One that fails on the server's side is sent once more. */
  async #post(path, event) {
    for (let attempt = 1; ; attempt++) {
      const answer = await fetch(this.server + path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(event),
        keepalive: true,
      });
      if (answer.ok) return answer;
      if (answer.status < 500 || attempt === 2) throw new Error(`the server answered ${answer.status}`);
    }
  }
}
