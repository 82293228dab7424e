// A small chart of the question's panel: axes with round numbers, and lines on them. Plain SVG in its own units, so that
// it fits wherever it stands, without being drawn anew.
import { element } from "../dom.js";
import { Scale } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 1000; // units of either side
const TICKS = 5;

/** @param {string} tag */
function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}

export class Plot {
  /**
   * @param {{first: number, last: number, low: number, high: number, log?: boolean}} bounds
   * @param {{heights?: boolean, name?: string}} [axes]
   */
  constructor({ first, last, low, high, log = false }, { heights = true, name = "step" } = {}) {
    this.x = new Scale(first, last, log);
    this.y = new Scale(low, high);
    this.node = element("div", heights ? "ls-plotted" : "ls-plotted ls-strip");
    this.area = this.node.appendChild(element("div", "ls-area"));
    this.svg = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.grid = this.svg.appendChild(svg("g"));
    this.lines = this.svg.appendChild(svg("g"));
    this.area.append(this.svg);
    for (const { value, text } of this.x.ticks(TICKS)) this.tick("x", this.x.share(value), text);
    if (heights) for (const { value, text } of this.y.ticks(TICKS)) this.tick("y", this.y.share(value), text);
    if (name) this.node.append(element("span", "ls-axis-name", name));
  }

  tick(axis, share, text) {
    const at = axis === "x" ? share * SIZE : (1 - share) * SIZE;
    const [x1, y1, x2, y2] = axis === "x" ? [at, 0, at, SIZE] : [0, at, SIZE, at];
    this.grid.append(svg("line", { x1, y1, x2, y2, class: "ls-gridline" }));
    const label = element("span", `ls-tick ls-tick-${axis}`, text);
    label.style.setProperty("--at", `${(at / SIZE) * 100}%`);
    this.area.append(label);
  }

  clear() {
    this.lines.replaceChildren();
  }

  /** @param {[number, number][]} points steps and values */
  curve(points, kind) {
    if (!points.length) return;
    const at = points.map(([step, value]) => `${(this.x.share(step) * SIZE).toFixed(1)} ${((1 - this.y.share(value)) * SIZE).toFixed(1)}`);
    this.lines.append(svg("path", { d: `M${at.join("L")}`, class: `ls-line-${kind}` }));
  }

  /** Where the arrow keys stand. */
  point(across, up) {
    this.lines.append(svg("path", { d: `M${across * SIZE} ${(1 - up) * SIZE}h0`, class: "ls-cursor" }));
  }

  /** Dots, each [share across, share up]: one path, however many they are. */
  dots(places, kind) {
    const d = places.map(([across, up]) => `M${(across * SIZE).toFixed(1)} ${((1 - up) * SIZE).toFixed(1)}h0`).join("");
    if (d) this.lines.append(svg("path", { d, class: `ls-dots-${kind}` }));
  }

  /** A line up from a value. */
  rule(value, kind) {
    const x = this.x.share(value) * SIZE;
    this.lines.append(svg("line", { x1: x, y1: 0, x2: x, y2: SIZE, class: `ls-line-${kind}` }));
  }
}
