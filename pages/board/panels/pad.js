// An empty chart that one draws a curve on: with a finger, the mouse, or the arrow keys.
import { element } from "../dom.js";
import { figures, whole } from "../format.js";
import { Plot } from "./plot.js";

const MOST = 64; // points
const COLUMNS = 8; // the arrow keys go from one to the next
const NOTCH = 1 / 40; // of the height
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], PageUp: [0, 5], PageDown: [0, -5] };

export class Pad {
  cursor = 0; // of the arrow keys: a place
  before = null; // the place and height that the pointer was at last
  /** @type {Set<number>} */
  knots = new Set(); // places that the arrow keys have bent

  /**
   * @param {{first: number, last: number, low: number, high: number}} question
   * @param {() => void} onChange
   */
  constructor(question, onChange) {
    this.question = question;
    this.onChange = onChange;
    /** @type {(number | null)[]} */
    this.heights = new Array(Math.min(MOST, question.last - question.first + 1)).fill(null); // shares, from below
    this.plot = new Plot(question);
    this.node = this.plot.node;
    const { area } = this.plot;
    area.classList.add("ls-pad");
    area.tabIndex = 0;
    area.setAttribute("role", "slider");
    area.setAttribute("aria-label", "Your curve: left and right choose a step, up and down its loss");
    area.setAttribute("aria-valuemin", String(question.low));
    area.setAttribute("aria-valuemax", String(question.high));
    area.onpointerdown = (event) => {
      area.setPointerCapture(event.pointerId);
      this.before = null;
      this.draw(event);
    };
    area.onpointermove = (event) => area.hasPointerCapture(event.pointerId) && this.draw(event);
    area.onkeydown = (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      this.bend(...KEYS[event.key]);
    };
    this.show();
  }

  get last() {
    return this.heights.length - 1;
  }

  /** The step of a place. */
  step(place) {
    const { first, last } = this.question;
    return Math.round(first + (place / this.last) * (last - first));
  }

  /** The value of a height, in bounds though it is rounded. */
  value(height) {
    const { low, high } = this.question;
    return Math.min(high, Math.max(low, Number((low + height * (high - low)).toPrecision(4))));
  }

  /**
   * What has been drawn: [[step, value], …].
   * @returns {[number, number][]}
   */
  get points() {
    return this.heights.flatMap((height, place) => (height === null ? [] : [[this.step(place), this.value(height)]]));
  }

  /** Show a curve that was drawn before. */
  take(points) {
    const { first, last, low, high } = this.question;
    for (const [step, value] of points) {
      this.heights[Math.round(((step - first) / (last - first)) * this.last)] = (value - low) / (high - low);
    }
    this.changed();
  }

  clear() {
    this.heights.fill(null);
    this.knots.clear();
    this.changed();
  }

  /** The pointer is here: all that it has passed since is drawn, straight. */
  draw({ clientX, clientY }) {
    const { left, top, width, height } = this.plot.area.getBoundingClientRect();
    const within = (share) => Math.min(1, Math.max(0, share));
    this.stroke(Math.round(within((clientX - left) / width) * this.last), within(1 - (clientY - top) / height));
  }

  stroke(place, height) {
    this.knots.clear();
    this.join(this.before ?? [place, height], [place, height]);
    this.before = [place, height];
    this.cursor = place;
    this.changed();
  }

  /** One step of an arrow key: along, or up and down there. */
  bend(along, up) {
    const column = this.last / COLUMNS;
    this.cursor = Math.min(this.last, Math.max(0, Math.round((Math.round(this.cursor / column) + along) * column)));
    if (up) {
      const height = Math.min(1, Math.max(0, (this.heights[this.cursor] ?? 0.5) + up * NOTCH));
      const knots = [...this.knots].sort((a, b) => a - b);
      const left = knots.findLast((knot) => knot < this.cursor);
      const right = knots.find((knot) => knot > this.cursor);
      for (const knot of [left, right]) {
        if (knot !== undefined) this.join([knot, this.heights[knot]], [this.cursor, height]);
      }
      this.heights[this.cursor] = height;
      this.knots.add(this.cursor);
    }
    this.changed();
  }

  /** A straight line between two places. */
  join([from, start], [to, end]) {
    const steps = Math.abs(to - from);
    for (let n = 0; n <= steps; n++) {
      this.heights[from + n * Math.sign(to - from)] = steps ? start + (n / steps) * (end - start) : end;
    }
  }

  changed() {
    this.show();
    this.onChange();
  }

  show() {
    this.plot.clear();
    this.plot.curve(this.points, "own");
    const height = this.heights[this.cursor];
    const { area } = this.plot;
    area.setAttribute("aria-valuenow", String(height === null ? this.question.low : this.value(height)));
    const said = height === null ? "not drawn" : `loss ${figures(this.value(height), 3)}`;
    area.setAttribute("aria-valuetext", `step ${whole(this.step(this.cursor))}: ${said}`);
    this.plot.point(this.cursor / this.last, height ?? 0.5);
  }
}

/** A legend's entry: a mark and its words. */
export function key(kind, text) {
  const entry = element("span", "ls-question-key");
  entry.append(element("i", `ls-mark ls-${kind}`), element("span", "", text));
  return entry;
}
