// A chart over two quantities, neither of them the step: points, a moving line, a path over a surface. The figure
// comes from Python, and a trace's meta names the channels that feed it; this fills it.
import { write } from "../dom.js";
import { figures } from "../format.js";
import { markOf } from "../panels/panel.js";
import { Chart } from "./chart.js";
import { themed } from "./layout.js";
import { repaint } from "./theme.js";

const ARROW_SHARE = 0.25; // of half the view's shorter side
const TRAIL = 12; // points of a path that has left its surroundings: more would be a scribble
const SHRINKS = 8; // times wider than needed, a view comes closer again
const NOTHING = { x: [], y: [] };

/** What a trace shows, by the name in its meta: from the channels' series, the chart's view and its points. */
const FEEDS = {
  line: ([a, b], { view: [left, right] }) => {
    const [slope, start] = [newest(a), newest(b)];
    return slope === undefined ? NOTHING : { x: [left, right], y: [slope * left + start, slope * right + start] };
  },
  residuals: ([a, b], { points }) => {
    const [slope, start] = [newest(a), newest(b)];
    if (slope === undefined) return NOTHING;
    const x = points.x.flatMap((at) => [at, at, null]);
    return { x, y: points.x.flatMap((at, index) => [points.y[index], slope * at + start, null]) };
  },
  path: ([x, y], { lost }) => {
    const path = joined(x, y);
    return lost ? { x: path.x.slice(-TRAIL), y: path.y.slice(-TRAIL) } : path;
  },
  here: ([x, y]) => (newest(x) === undefined ? NOTHING : { x: [newest(x)], y: [newest(y)] }),
  /** From where the newest slope was measured, which is before the newest step, the way down. */
  downhill: ([x, y, slopeX, slopeY], { reach }) => {
    const [dx, dy] = [newest(slopeX), newest(slopeY)];
    const length = Math.hypot(dx, dy);
    if (!(length > 0)) return NOTHING;
    const [atX, atY] = [x.values.at(-2), y.values.at(-2)];
    return { x: [atX, atX - (reach * dx) / length], y: [atY, atY - (reach * dy) / length] };
  },
};

export class PlaneChart extends Chart {
  fed = []; // the traces that channels feed: {index, kind, channels, label}
  framed = null; // which view stands, in words

  setPanel(panel) {
    this.figure = panel.figure;
    this.fed = this.figure.data.flatMap(({ meta }, index) => {
      const kind = Object.keys(FEEDS).find((name) => name in (meta ?? {}));
      return kind ? [{ index, kind, channels: meta[kind], label: meta.label }] : [];
    });
    this.points = this.figure.data.find(({ meta }) => meta?.points) ?? NOTHING;
    this.widened = 1;
    this.zoomed = false;
    this.frame.setPanel(panel);
    this.addTools("whole chart", "Show the whole chart again");
    return this.build();
  }

  /** Draw the figure anew in the page's colours and type; with `keep` the zoomed view stays. */
  async build(keep = false) {
    const { theme, scale } = this.board;
    const { data, layout } = repaint(this.figure, theme.name);
    const full = keep && this.zoomed ? this.plot._fullLayout : null;
    this.base = themed(layout, theme, scale);
    for (const name of ["xaxis", "yaxis"]) if (full) this.base[name].range = full[name].range.slice();
    for (const trace of data) {
      if (trace.line?.width) trace.line.width *= scale;
      if (trace.marker?.size) trace.marker.size *= scale;
    }
    for (const { index } of this.fed) Object.assign(data[index], { x: [], y: [] });
    this.addLegend(data);
    this.framed = null;
    await this.react(data, this.base);
  }

  addLegend(data) {
    this.frame.legend.replaceChildren();
    this.labels = new Map();
    data.forEach((trace, index) => {
      if (trace.showlegend === false || !trace.name) return;
      const colour = trace.line?.color ?? trace.marker?.color;
      this.labels.set(index, this.frame.addKey(trace.name, [colour], markOf(trace)).lastChild);
    });
  }

  follow() {
    this.framed = null;
    super.follow();
  }

  render() {
    if (this.busy) return false;
    const series = this.fed.map(({ channels }) => channels.map((name) => this.board.data.curve(name, this.board.pastStep) ?? EMPTY));
    const change = this.zoomed ? {} : this.view(series);
    const { xaxis, yaxis } = this.plot._fullLayout;
    const view = change["xaxis.range"] ?? xaxis.range;
    const high = change["yaxis.range"] ?? yaxis.range;
    const reach = ARROW_SHARE * 0.5 * Math.min(Math.abs(view[1] - view[0]), Math.abs(high[1] - high[0]));
    const drawn = this.fed.map(({ kind }, at) => FEEDS[kind](series[at], { view, reach, points: this.points, lost: this.lost }));
    this.fed.forEach(({ index, label }, at) => label && this.writeLabel(index, label, series[at]));
    const indices = this.fed.map(({ index }) => index);
    this.board.Plotly.update(this.plot, { x: drawn.map(({ x }) => x), y: drawn.map(({ y }) => y) }, change, indices);
    this.dirty = false;
    return true;
  }

  /** Has the path left all that the figure draws around it? */
  get lost() {
    return this.widened > (this.figure.layout.meta?.widest ?? Infinity);
  }

  /** The axes follow what moves: doubled as long as that lies outside, halved when it fills little of them. */
  view(series) {
    const { square } = this.figure.layout.meta ?? {};
    return square ? this.squareView(series, square) : this.plainView(series);
  }

  /** Hold how much wider than at first the view is, where `needed` times is enough. */
  widen(needed) {
    if (!Number.isFinite(needed)) return;
    while (needed > this.widened) this.widened *= 2;
    while (this.widened > 1 && needed * SHRINKS < this.widened) this.widened /= 2;
  }

  /** The ranges of the figure, the vertical one wide enough for the line from edge to edge. */
  plainView(series) {
    const { xaxis, yaxis } = this.base;
    const [low, high] = yaxis.range;
    const middle = (low + high) / 2;
    const at = this.fed.findIndex(({ kind }) => kind === "line");
    if (at >= 0) {
      const { y } = FEEDS.line(series[at], { view: xaxis.range });
      this.widen(Math.max(0, ...y.map((end) => Math.abs(end - middle))) / (high - middle));
    }
    if (this.framed === this.widened) return {};
    this.framed = this.widened;
    const up = (high - middle) * this.widened;
    return { "xaxis.range": xaxis.range.slice(), "yaxis.range": [middle - up, middle + up] };
  }

  /** A view that the figure describes by its middle and half its height: a unit has one length on both axes. */
  squareView(series, [x, y, half]) {
    const at = this.fed.findIndex(({ kind }) => kind === "here");
    const away = Math.max(Math.abs(newest(series[at][0]) - x), Math.abs(newest(series[at][1]) - y));
    while (Number.isFinite(away) && away > half * this.widened) this.widened *= 2;
    const { w: width, h: height } = this.plot._fullLayout._size;
    const framed = `${this.widened} ${width}×${height}`;
    if (framed === this.framed) return {};
    this.framed = framed;
    const [across, up] = [Math.max(1, width / height), Math.max(1, height / width)].map((n) => n * half * this.widened);
    return { "xaxis.range": [x - across, x + across], "yaxis.range": [y - up, y + up] };
  }

  /** The legend's words, with the channels' newest values in their places. */
  writeLabel(index, label, series) {
    const words = label.replace(/\{(\d)\}/g, (_, at) => figures(newest(series[at]) ?? NaN, 3));
    const node = this.labels.get(index);
    if (node) write(node, words);
  }
}

const EMPTY = { steps: [], values: [] };

const newest = (series) => series.values.at(-1);

/** Two channels as the points of a path, where both have a value of the same step. */
function joined(one, other) {
  const out = { x: [], y: [] };
  let at = 0;
  one.steps.forEach((step, index) => {
    while (at < other.steps.length && other.steps[at] < step) at += 1;
    if (other.steps[at] !== step) return;
    out.x.push(one.values[index]);
    out.y.push(other.values[at]);
  });
  return out;
}
