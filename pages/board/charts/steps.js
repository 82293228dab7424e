// A chart over steps: curves fed by channels, marks of events, smoothing, a logarithmic axis, detail where zoomed. The
// figure comes from Python; this fills it.
import { element } from "../dom.js";
import { amount, literal, whole } from "../format.js";
import { markOf } from "../panels/panel.js";
import { Chart } from "./chart.js";
import { SMOOTHING, below, drawnPart, highest, lowest, mostPoints, smoothingWindow } from "./curves.js";
import { arrange, lengthOf, put } from "./labels.js";
import { FIGURE_FONT, axisName, halo, themed } from "./layout.js";
import { labelsOf, linesOf, marksOf, predictedLines, takenRows } from "./marks.js";
import { planned } from "./schedule.js";
import { average, calmHeights, hasLeapt, overlay, upTo } from "./series.js";
import { repaint } from "./theme.js";
import { countTicks, roundTicks, tickText } from "./ticks.js";

const ROW = 19; // px: the height of a label
const HEADROOM = 0.06; // of the heights, above and below them
const NARROW = 480; // px: there, labels go without what they have in brackets
const TICK_HEIGHT = 20; // px
const TICK_WIDTH = 110; // px
const DETAIL_AFTER = 120; // ms that a zoom must last before its detail is asked for
const NOTHING = { steps: [], values: [], means: [] };
const LOG_HINT = "Logarithmic vertical axis: comes by itself when the loss leaps thirtyfold";
const LOG_STEPS_HINT = "Logarithmic axis of steps, on all charts: the first steps get as much room as the many after them";
const GAPS = ":nan"; // after a channel's name: where it is no number
const FOLLOW_HINT = "Show the whole run again and stay with the newest step";

export class StepChart extends Chart {
  traces = []; // those that a channel feeds: {index, channel, run, smooth, only}
  drawnModes = "";
  places = []; // of the labels of the figure's own lines
  /** @type {Map<string, import("./series.js").Points[]>} */
  detail = new Map(); // of the stretches that are wanted in detail, by source
  log = false;
  chosen = false; // somebody has chosen the kind of axis
  said = ""; // what the legend says is missing
  /** @type {any[]} */
  dressed = []; // the traces in the page's colours
  unzoom = false; // the next drawing shows the whole run again

  /** Show the figure of a run; a new run starts in full view. */
  setPanel(panel) {
    this.figure = panel.figure;
    this.traces = this.figure.data.map((trace, index) => ({ index, ...trace.meta })).filter((one) => one.channel);
    this.log = this.figure.layout.yaxis?.type === "log";
    this.chosen = this.zoomed = this.calmed = false;
    this.places = [];
    this.detail.clear();
    this.frame.setPanel(panel);
    if (this.traces.some((trace) => trace.smooth)) this.addSmoothing();
    const change = () => {
      this.chosen = true;
      this.log = !this.log;
      this.build(true);
    };
    this.logButton = this.frame.addButton("log", LOG_HINT, change, this.frame.tools, "Logarithmic");
    const logSteps = () => this.board.logSteps();
    if (panel.area === "main") {
      this.stepsButton = this.frame.addButton("log steps", LOG_STEPS_HINT, logSteps, this.frame.tools, "Logarithmic steps");
    }
    this.addTools("follow", FOLLOW_HINT);
    return this.build();
  }

  addSmoothing() {
    const box = element("label", "ls-smooth", "", { title: "Smoothing: how many steps the bold line averages" });
    const slider = element("input", "", "", {
      type: "range", min: 0, max: SMOOTHING.length - 1, step: 1, value: this.board.smoothing,
    });
    slider.setAttribute("aria-label", `Smoothing: ${this.frame.title.textContent}`);
    slider.oninput = () => this.board.smooth(Number(slider.value));
    this.slider = slider;
    this.windowText = element("span", "ls-window");
    box.append(element("span", "ls-word", "smooth"), slider, this.windowText);
    this.frame.tools.append(box);
  }

  addLegend(data) {
    this.frame.legend.replaceChildren();
    const groups = new Map();
    for (const trace of data) {
      if (trace.showlegend === false || !trace.name) continue;
      const name = trace.meta?.group ?? trace.name;
      const previous = trace.meta?.run === "previous";
      if (previous && !this.board.previousRun) continue;
      if (!groups.has(name)) groups.set(name, { names: [], colours: [], mark: markOf(trace), previous });
      groups.get(name).names.push(trace.name);
      groups.get(name).colours.push(trace.line?.color ?? trace.marker?.color);
    }
    for (const words of this.missing()) this.frame.addKey(words, [this.board.theme.error], "cross");
    for (const [name, { names, colours, mark, previous }] of groups) {
      const entry = this.frame.addKey(name, colours, mark, names.join(", "));
      const dismiss = () => this.board.dismissPreviousRun();
      if (previous) this.frame.addButton("×", "Dismiss the previous run's curve", dismiss, entry);
    }
  }

  /** What the curves cannot show, in words: where they are no numbers, and what a logarithmic axis has no place for. */
  missing() {
    const { series, header } = this.board.data;
    const own = this.traces.filter(({ run, channel }) => run !== "previous" && !channel.endsWith(GAPS));
    const words = new Set();
    for (const { channel, smooth, index } of own) {
      const since = header.not_finite?.[channel];
      if (since !== undefined) words.add(`NaN since step ${whole(since)}`);
      else if (series.get(channel + GAPS)?.steps.length) words.add("NaN");
      if (this.figure.layout.meta?.calm && !smooth && hasLeapt(series.get(channel)?.values ?? [])) {
        words.add(`${this.figure.data[index].name} leaves the chart`);
      }
      if (this.log && series.get(channel)?.values.some((value) => value <= 0)) words.add("0 and below: not on a log axis");
    }
    return [...words];
  }

  /** Draw the figure anew in the page's colours and type; with `keep` the zoomed stretch stays. */
  async build(keep = false) {
    const { theme, scale, axis } = this.board;
    const { data, layout } = repaint(this.figure, theme.name);
    const heights = keep && this.zoomed ? this.plot._fullLayout?.yaxis.range.slice() : null;
    this.dressed = data;
    this.said = String(this.missing());
    this.addLegend(data);
    const base = themed(layout, theme, scale);
    base.yaxis.type = this.log ? "log" : "linear";
    if (heights && this.plot._fullLayout.yaxis.type === base.yaxis.type) base.yaxis.range = heights;
    for (const steps of [base.xaxis, base.xaxis2].filter(Boolean)) steps.type = axis.log ? "log" : "linear";
    // Copies: Plotly takes the layout over and the events go into its arrays.
    this.fixed = {
      shapes: [...(layout.shapes ?? [])],
      annotations: (layout.annotations ?? []).map((note) => this.annotation(note, scale)),
    };
    Object.assign(base, { shapes: [...this.fixed.shapes], annotations: [...this.fixed.annotations] });
    base.xaxis.range = axis.range;
    for (const trace of data) {
      if (trace.meta?.channel) Object.assign(trace, { hovertemplate: hoverTemplate(trace), connectgaps: false });
      if (trace.line?.width) trace.line.width *= scale;
    }
    const { x, y } = this.curves(base.xaxis.range);
    const modes = this.modes(x);
    this.traces.forEach(({ index }, at) => Object.assign(data[index], { x: x[at], y: y[at], mode: modes[at] }));
    this.drawnModes = String(modes);
    this.logButton.setAttribute("aria-pressed", String(this.log));
    this.stepsButton?.setAttribute("aria-pressed", String(axis.log));
    this.marked = this.decades = this.counted = null;
    await this.react(data, base);
    if (this.log) this.markDecades();
  }

  annotation(note, scale) {
    const size = (note.font?.size ?? FIGURE_FONT) * scale;
    const placed = { ...note, font: { ...note.font, size, shadow: halo(this.board.theme) } };
    if (this.plot.clientWidth < NARROW) placed.text = placed.text.replace(/ \(.*?\)/, "");
    // Plotly wants the position of a text on a logarithmic axis as a logarithm, that of a line as it is.
    if (this.log && placed.yref === "y") placed.y = Math.log10(placed.y);
    return placed;
  }

  /** A stretch was chosen here: all charts show it. */
  showZoomed() {
    this.board.zoomSteps(this.plot._fullLayout.xaxis.range);
  }

  follow() {
    this.board.zoomSteps(null);
  }

  /** The stretch of steps on show is another, or the whole run again. */
  zoomSteps(zoomed) {
    this.zoomed = zoomed;
    this.unzoom = !zoomed;
    this.followButton.hidden = !zoomed;
    this.detail.clear();
    this.wantDetail();
    this.redo();
  }

  wantDetail() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.fetchDetail(), DETAIL_AFTER);
  }

  /** Ask for the points of the stretches that are wanted in detail. */
  async fetchDetail() {
    const { run } = this.board.data;
    const stretches = this.board.axis.detailed;
    const request = (this.request = {});
    const wanted = new Map(this.traces.map((trace) => [source(trace), trace]));
    const parts = await Promise.all(
      [...wanted].map(async ([key, trace]) => {
        const owner = trace.run === "previous" ? this.board.previousRun?.run : run;
        const ask = ([from, to]) => owner && this.board.requests.series(owner, trace.channel, from, to);
        return /** @type {const} */ ([key, (await Promise.all(stretches.map(ask))).filter(Boolean)]);
      }),
    );
    if (this.request !== request || this.board.data.run !== run) return;
    this.detail = new Map(parts);
    this.redo();
  }

  /** Fill the curves with what has arrived; false where it has to wait. */
  render() {
    if (this.busy) return false;
    if (!this.log && !this.chosen && this.showsLeap) {
      this.log = true;
      this.build(true);
      return false;
    }
    const said = String(this.missing());
    if (said !== this.said) {
      this.said = said;
      this.addLegend(this.dressed);
    }
    const change = {};
    this.grow(change);
    const range = change["xaxis.range"] ?? this.plot._fullLayout.xaxis.range;
    const heights = String(this.plot._fullLayout.yaxis.range);
    const curves = this.curves(range);
    const modes = this.modes(curves.x);
    const traces = String(modes) === this.drawnModes ? curves : { ...curves, mode: modes };
    this.drawnModes = String(modes);
    this.calm(change, curves);
    this.mark(change, range, curves);
    this.countAbove(change, range);
    this.nameAxis(change);
    this.board.Plotly.update(this.plot, traces, change, this.traces.map((trace) => trace.index));
    if (this.log) this.markDecades();
    this.dirty = String(this.plot._fullLayout.yaxis.range) !== heights; // labels were placed by the one before
    return true;
  }

  /** The lanes of a race: heights that follow those that have not leapt. */
  calm(change, { y }) {
    if (!this.figure.layout.meta?.calm || this.zoomed) return;
    const heights = calmHeights(y.filter((_, at) => !this.traces[at].smooth));
    if (heights) {
      const [low, high] = this.log ? heights.map(Math.log10) : heights;
      const room = HEADROOM * (high - low || 1);
      change["yaxis.range"] = [low - room, high + room];
      delete change["yaxis.autorange"];
    } else if (this.calmed) change["yaxis.autorange"] = true;
    this.calmed = heights !== null;
  }

  /** Is there a loss on it that has leapt? */
  get showsLeap() {
    const shown = this.traces.some(({ channel }) => channel === "train/loss");
    return shown && hasLeapt(this.board.data.curve("train/loss")?.values ?? []);
  }

  /** What the curves show where the axis has this range: {x, y}, each an array for each of `traces`. */
  curves(range) {
    const { axis, data } = this.board;
    const stretch = axis.steps(range);
    const window = this.window(stretch[1] - Math.max(0, stretch[0]));
    const most = mostPoints(this.traces.length, this.zoomed);
    const x = [];
    const y = [];
    for (const trace of this.traces) {
      const points = this.points(trace);
      /** @type {import("./series.js").Curve} */
      let curve = points;
      if (trace.smooth) curve = { steps: points.steps, values: average(points.steps, points.means, window) };
      if (trace.run === "previous") curve = below(curve, this.highest());
      if (trace.only === "lowest") curve = lowest(curve);
      if (trace.only === "planned") curve = planned(data.header.settings, data.moment, stretch[1], most);
      const part = drawnPart(curve, stretch, most, this.zoomed, (step) => axis.place(step));
      x.push(part.steps);
      y.push(part.values);
    }
    return { x, y };
  }

  /** How each trace is drawn: a curve of one point would be nothing as a line. */
  modes(x) {
    const own = ({ index }) => this.figure.data[index].mode ?? "lines";
    return this.traces.map((trace, at) => (x[at].length === 1 ? "markers" : own(trace)));
  }

  /** The highest point of this run's own curves. */
  highest() {
    const own = this.traces.filter((trace) => trace.run !== "previous");
    return highest(own.map((trace) => this.board.data.curve(trace.channel)?.values ?? []));
  }

  /** All that there is of a trace up to the moment on show, in detail where it was asked for. */
  points(trace) {
    const { data, previousRun } = this.board;
    const previous = trace.run === "previous";
    const all = (previous ? previousRun : data.series.get(trace.channel)) ?? NOTHING;
    const whole = (this.detail.get(source(trace)) ?? []).reduce(overlay, all);
    return previous ? whole : upTo(whole, data.moment);
  }

  /** Show the stretch of steps that all charts show. */
  grow(change) {
    const { range } = this.board.axis;
    const now = this.plot._fullLayout.xaxis.range;
    const moved = range.some((end, at) => Math.abs(end - now[at]) > 1e-9 * Math.abs(range[1] - range[0]));
    if (moved || this.unzoom) change["xaxis.range"] = range;
    if (moved && this.board.axis.log) this.wantDetail();
    if (this.unzoom) change["yaxis.autorange"] = true;
    this.unzoom = false;
  }

  /** Width of the moving average, steps; its label follows. */
  window(span) {
    const window = smoothingWindow(this.board.smoothing, span);
    if (this.slider) this.slider.value = String(this.board.smoothing);
    if (this.windowText) this.windowText.textContent = window ? `${whole(window)} steps` : "off";
    return window;
  }

  nameAxis(change) {
    const { title, _length: height } = this.plot._fullLayout.yaxis;
    const name = axisName(this.figure.layout.yaxis?.title?.text ?? "", height, this.board.scale);
    if (title.text !== name) change["yaxis.title.text"] = name;
  }

  /** Ticks of the logarithmic axis: as many round numbers as have room for their labels. */
  markDecades() {
    const { range, _length: height } = this.plot._fullLayout.yaxis;
    const values = roundTicks(range[0], range[1], height / (TICK_HEIGHT * this.board.scale));
    if (String(values) === this.decades) return;
    this.decades = String(values);
    this.board.Plotly.relayout(this.plot, {
      "yaxis.tickmode": "array",
      "yaxis.tickvals": values,
      "yaxis.ticktext": values.map(tickText),
    });
  }

  /** Vertical lines where events happened, with words where the figure asks for them and there is room. */
  mark(change, range, curves) {
    const { theme, scale, data, notes, pastStep, axis } = this.board;
    const wanted = this.figure.layout.meta?.events;
    const marks = wanted ? marksOf(data.happened, notes, theme) : [];
    const width = this.plot._fullLayout._size.w;
    const places = this.placeLabels(range, width, curves);
    const channels = new Set(this.traces.filter(({ run }) => run !== "previous").map(({ channel }) => channel));
    const predicted = predictedLines(this.board.question.question, channels, { log: this.log, logSteps: axis.log }, theme);
    const key = JSON.stringify([marks, range, width, pastStep, places, predicted]);
    if (key === this.marked) return;
    this.marked = key;
    change.shapes = [...this.fixed.shapes, ...predicted, ...linesOf(marks, pastStep, theme)];
    change.annotations = this.fixed.annotations.flatMap((note, index) => put(note, places[index], width));
    if (wanted !== "text") return;
    const size = FIGURE_FONT * scale;
    const taken = takenRows(places, ROW * scale);
    const placed = marks.map((mark) => ({ ...mark, step: axis.place(mark.step) })); // as Plotly places a text
    for (const label of labelsOf(placed, { range, width, size, taken, lengthOf })) {
      change.annotations.push({
        text: label.text, x: label.step, xref: "x", y: 1, yref: "paper", yshift: -label.row * ROW * scale,
        yanchor: "top", xanchor: label.anchor, showarrow: false, borderpad: 1,
        font: { size, color: label.colour, shadow: halo(theme) }, ...(label.whole && { hovertext: label.whole }),
      });
    }
  }

  /** The words of the figure's own lines, each beside its line where the curves leave room. */
  placeLabels(range, width, { x, y }) {
    if (!this.fixed.annotations.length) return [];
    const { axis } = this.board;
    const { range: [low, high], _length: height } = this.plot._fullLayout.yaxis;
    const down = (value) => ((high - value) / (high - low)) * height;
    const points = (at) =>
      x[at].flatMap((step, i) => {
        const value = this.log ? Math.log10(y[at][i]) : y[at][i];
        return Number.isFinite(value) ? [[((axis.place(step) - range[0]) / (range[1] - range[0])) * width, down(value)]] : [];
      });
    const named = ({ index }) => this.figure.data[index].showlegend !== false; // not the faint ones behind
    const curves = this.traces.flatMap((trace, at) => (named(trace) ? [points(at)] : []));
    const row = ROW * this.board.scale;
    const lines = this.fixed.annotations.map(({ text, y, yanchor, font }) => {
      const top = Math.round(down(y)) - (yanchor === "top" ? 0 : row);
      return { long: lengthOf(text, font.size), top, bottom: top + row };
    });
    return (this.places = arrange(lines, curves, width, this.places));
  }

  /** Ticks of the axis above: round numbers of its channel, at the steps where they were reached. */
  countAbove(change, range) {
    const counted = this.board.data.curve(this.figure.layout.meta?.above);
    const room = this.plot._fullLayout._size.w / (TICK_WIDTH * this.board.scale);
    const ticks = countTicks(counted, this.board.axis.steps(range), room);
    const key = JSON.stringify(ticks);
    if (!ticks || key === this.counted) return;
    this.counted = key;
    change["xaxis2.tickmode"] = "array";
    change["xaxis2.tickvals"] = ticks.steps;
    change["xaxis2.ticktext"] = ticks.counts.map(amount);
  }
}

const source = (trace) => `${trace.run ?? ""} ${trace.channel}`;

/** What is known at some steps only says at which: the step over the words is that under the pointer. */
const hoverTemplate = ({ name, mode }) =>
  `${literal(name ?? "")} %{y:.4g}${mode?.includes("markers") ? " at step %{x:,.0f}" : ""}<extra></extra>`;
