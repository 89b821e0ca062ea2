// A video that has no pictures. It behaves like a <video> element with ads, and its clock may run fast.
//
// Events: "adstart" and "adend" (detail: the ad and its number), "play", "ended", and "tick" many times a second.

const TICK_MS = 10;
const LONGEST_STEP_MS = 250;

export class Video extends EventTarget {
  currentTime = 0;
  #passed = 0;

  /** @param {number} speed How many seconds of playback pass in a second. */
  constructor(programme, { speed = 1 } = {}) {
    super();
    this.programme = programme;
    this.speed = speed;
    this.startedAt = Date.now();
  }

  /** The time of the player's clock in Unix milliseconds. */
  now() {
    return Math.round(this.startedAt + this.#passed);
  }

  /** Play from the beginning to the end, ads included. */
  async play() {
    for (const [index, ad] of this.programme.ads.entries()) {
      await this.#playContent(ad.at);
      this.#tell("adstart", { ad, number: index + 1 });
      await this.#pass(ad.length, () => {});
      this.#tell("adend", { ad, number: index + 1 });
    }
    await this.#playContent(this.programme.length);
    this.#tell("ended");
  }

  async #playContent(until) {
    const from = this.currentTime;
    if (from === until) return;
    this.#tell("play");
    await this.#pass(until - from, (seconds) => (this.currentTime = from + seconds));
    this.currentTime = until;
  }

  async #pass(seconds, move) {
    const from = this.#passed;
    while (this.#passed - from < seconds * 1000) {
      move((this.#passed - from) / 1000);
      this.#tell("tick");
      await this.#tick();
    }
  }

  /** Let some time pass. On a machine that is too busy, less time passes: a video would stall. */
  async #tick() {
    const before = Date.now();
    await new Promise((done) => setTimeout(done, TICK_MS));
    this.#passed += Math.min((Date.now() - before) * this.speed, LONGEST_STEP_MS);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
