// The loss of the run before, which stands behind the new one's as a faint line to compare with.

export class PreviousRun {
  loadedTo = 0;
  /** @type {number[]} */
  steps = [];
  /** @type {number[]} */
  values = [];
  /** @type {number[]} */
  means = [];

  /**
   * @param {string} run its id
   * @param {import("./requests.js").Requests} requests
   */
  constructor(run, requests) {
    this.run = run;
    this.requests = requests;
  }

  /** Load its loss up to `step`, which is as much as the axis shows, in full detail. True where new points came. */
  async loadTo(step) {
    if (this.loadedTo >= step) return false;
    this.loadedTo = step;
    const part = await this.requests.series(this.run, "train/loss", 0, step);
    if (!part || this.loadedTo !== step) return false; // the axis has moved on meanwhile
    const { steps, values, means } = part;
    Object.assign(this, { steps, values, means });
    return true;
  }
}
