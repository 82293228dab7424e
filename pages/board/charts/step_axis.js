// The axis of steps that all charts of a board share: how far it goes, whether it is logarithmic, which stretch is
// zoomed. A chart over steps asks here where a step lies, and all of them move together.
import { FIRST_EDGE, nextEdge } from "./curves.js";

const FIRST = 1; // a logarithmic axis begins here: step 0 has no place on it
const EARLIER = 30; // a logarithmic axis shows the first 1/30 of the steps on half of its length, and wants them in full

export class StepAxis {
  edge = FIRST_EDGE; // steps: the right end
  log = false;
  /** @type {[number, number] | null} */
  zoom = null; // the stretch of steps that somebody has chosen

  /** Where a step lies on the axis, as Plotly counts there. */
  place(step) {
    return this.log ? Math.log10(Math.max(step, FIRST)) : step;
  }

  /** The axis' ends, as Plotly counts. */
  get range() {
    const [from, to] = this.zoom ?? [this.log ? FIRST : 0, this.edge];
    return [this.place(from), this.place(to)];
  }

  /**
   * The steps between two places.
   * @returns {[number, number]}
   */
  steps([from, to]) {
    return this.log ? [10 ** from, 10 ** to] : [from, to];
  }

  /**
   * Stretches whose points are wanted in more detail than the run's curves have them, the widest first.
   * @returns {[number, number][]}
   */
  get detailed() {
    if (this.zoom) return [this.zoom];
    if (!this.log) return [];
    return [this.edge / EARLIER, this.edge / EARLIER ** 2].filter((to) => to > FIRST_EDGE).map((to) => [0, to]);
  }

  /** Another run begins. */
  begin() {
    this.edge = FIRST_EDGE;
    this.zoom = null;
  }

  /** Follow a run at `step` of `most`; says whether the edge has moved. */
  grow(step, most) {
    const edge = nextEdge(this.edge, step, most);
    const moved = edge !== this.edge;
    this.edge = edge;
    return moved;
  }
}
