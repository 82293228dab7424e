// A chart over steps: curves fed by channels, event lines, zoom that stays, smoothing, log axis. The figure
// comes from Python; this only fills it. Knows no socket.
import { arrange, lengthOf, worthALine } from "./labels.js";
import { markOf } from "../panels/panel.js";
import { savePicture } from "./picture.js";
import { average, clip, overlay, roundTicks, roundish, thin } from "./series.js";
import { repaint } from "./theme.js";
import { element } from "../dom.js";
import { amount, literal, whole } from "../format.js";

// The moving average covers this share of the steps on screen.
const LEAST_WINDOW = 5;
const SMOOTHING = [0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05];
const MOST_EVENTS = 60;
const MOST_EPOCHS = 12; // with more of them their ends are not marked
const LABEL_ROWS = 3;
const ROW = 19; // px: the height of a label
const LONGEST_LABEL = 30; // characters
const NARROW = 480; // px: there, labels go without what they have in brackets
const LEAP = 1000; // times the first loss, a loss shows nothing else on a linear axis
// Points handed to Plotly: of one curve about what the width can show, of many fewer each; more where zoomed.
const DRAWN = 1000;
const DRAWN_TOGETHER = 3000;
const DRAWN_ZOOMED = 2400;
const FAR = 1.15; // times the highest point of this run, the run before it is cut off: it may have diverged
const NOTHING = { steps: [], values: [], means: [] };
const LOG_HINT = "Logarithmic vertical axis: comes by itself when the loss leaps a thousandfold";
export const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };

export class StepChart {
  /** `stage` is the board: its Plotly, series, ghost, events, theme, and where detail is fetched. */
  constructor(frame, stage) {
    Object.assign(this, { frame, stage, dirty: true, drawn: 0, zoomed: false, traces: [] });
    this.plot = frame.body.appendChild(element("div", "ls-plot"));
    this.listening = false;
  }

  /** Show the figure of a run; a new run starts in full view. */
  dress(panel) {
    this.panel = panel;
    this.figure = panel.figure;
    this.traces = this.figure.data.map((trace, index) => ({ index, ...trace.meta })).filter((one) => one.channel);
    this.log = this.figure.layout.yaxis?.type === "log";
    this.chosen = this.zoomed = false;
    this.places = [];
    this.detail = new Map();
    this.frame.dress(panel);
    this.addTools();
    return this.build();
  }

  addTools() {
    if (this.traces.some((trace) => trace.smooth)) this.addSmoothing();
    this.logButton = this.frame.addButton("log", LOG_HINT, () => {
      this.chosen = true;
      this.log = !this.log;
      this.build(true);
    });
    this.followButton = this.frame.addReturn("follow", "Show the whole run again and stay with the newest step", () =>
      this.follow(),
    );
    this.frame.addPicture(() => savePicture(this));
    this.frame.addHelp();
  }

  addSmoothing() {
    const box = element("label", "ls-smooth", "", { title: "Smoothing: how many steps the bold line averages" });
    const slider = element("input", "", "", {
      type: "range", min: 0, max: SMOOTHING.length - 1, step: 1, value: this.stage.smoothing,
    });
    slider.setAttribute("aria-label", "Smoothing");
    slider.oninput = () => this.stage.smooth(Number(slider.value));
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
      if (trace.meta?.run === "previous" && !this.stage.ghost) continue;
      if (!groups.has(name)) groups.set(name, { colours: [], mark: markOf(trace), ghost: trace.meta?.run });
      groups.get(name).colours.push(trace.line?.color ?? trace.marker?.color);
    }
    for (const [name, { colours, mark, ghost }] of groups) {
      const entry = this.frame.addKey(name, colours, mark);
      if (ghost) this.frame.addButton("×", "Dismiss the previous run's curve", () => this.stage.dismissGhost(), entry);
    }
  }

  /** Draw the figure anew in the page's colours and type; with `keep` the zoomed stretch stays. */
  async build(keep = false) {
    const { Plotly, theme, scale } = this.stage;
    const { data, layout } = repaint(this.figure, theme.name);
    const before = keep && this.zoomed ? this.plot._fullLayout?.xaxis.range.slice() : null;
    this.addLegend(data);
    this.base = dressed(layout, theme, scale);
    this.base.yaxis.type = this.log ? "log" : "linear";
    // Copies: Plotly takes the layout over and the events go into its arrays.
    this.fixed = {
      shapes: [...(layout.shapes ?? [])],
      annotations: (layout.annotations ?? []).map((note) => this.annotation(note, scale)),
    };
    Object.assign(this.base, { shapes: [...this.fixed.shapes], annotations: [...this.fixed.annotations] });
    this.edge = this.stage.edge;
    this.base.xaxis.range = before ?? [0, this.edge];
    for (const trace of data) {
      if (trace.meta?.channel) Object.assign(trace, { hovertemplate: HOVER(trace), connectgaps: false });
      if (trace.line?.width) trace.line.width *= scale;
    }
    const { x, y } = this.curves(this.base.xaxis.range);
    this.traces.forEach(({ index }, at) => Object.assign(data[index], { x: x[at], y: y[at] }));
    this.logButton.setAttribute("aria-pressed", String(this.log));
    this.followButton.hidden = !this.zoomed;
    this.marks = this.decades = this.above = null;
    await Plotly.react(this.plot, data, this.base, CONFIG);
    if (this.log) this.markDecades();
    if (!this.listening) this.listen();
    this.dirty = true;
    this.stage.schedule();
  }

  annotation(note, scale) {
    const size = (note.font?.size ?? 14) * scale;
    const placed = { ...note, font: { ...note.font, size, shadow: halo(this.stage.theme) } };
    if (this.plot.clientWidth < NARROW) placed.text = placed.text.replace(/ \(.*?\)/, "");
    // Plotly wants the position of a text on a logarithmic axis as a logarithm, that of a line as it is.
    if (this.log && placed.yref === "y") placed.y = Math.log10(placed.y);
    return placed;
  }

  listen() {
    this.listening = true;
    this.plot.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => /^[xy]axis\.range/.test(key))) return;
      this.zoomed = true;
      this.followButton.hidden = false;
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.fetchDetail(), 120);
    });
    this.plot.on("plotly_doubleclick", () => this.follow());
  }

  follow() {
    this.zoomed = false;
    this.detail.clear();
    this.followButton.hidden = true;
    this.unzoom = true;
    this.dirty = true;
    this.stage.schedule();
  }

  /** Ask for the points of the stretch on screen. */
  async fetchDetail() {
    const [from, to] = this.plot._fullLayout.xaxis.range;
    const run = this.stage.run;
    const asked = (this.asked = {});
    const wanted = new Map(this.traces.map((trace) => [source(trace), trace]));
    const parts = await Promise.all(
      [...wanted].map(async ([key, trace]) => {
        const owner = trace.run === "previous" ? this.stage.ghost?.run : run;
        const part = owner && (await this.stage.fetchSeries(owner, trace.channel, from, to));
        return [key, part];
      }),
    );
    if (this.asked !== asked || this.stage.run !== run || !this.zoomed) return;
    this.detail = new Map(parts.filter(([, part]) => part));
    this.dirty = true;
    this.stage.schedule();
  }

  feeds(name) {
    return this.traces.some((trace) => trace.channel === name);
  }

  numbers(trace) {
    const all = trace.run === "previous" ? this.stage.ghost : this.stage.series.get(trace.channel);
    return { ...overlay(all ?? NOTHING, this.detail.get(source(trace))) };
  }

  /** Fill the curves with what has arrived; false where a drag is under way and it must wait. */
  render() {
    const { Plotly } = this.stage;
    if (!this.plot._fullLayout || this.plot._dragging) return false;
    if (!this.log && !this.chosen && this.leapt()) {
      this.log = true;
      this.build(true);
      return false;
    }
    const change = {};
    if (!this.zoomed) this.grow(change);
    const range = change["xaxis.range"] ?? this.plot._fullLayout.xaxis.range;
    const heights = String(this.plot._fullLayout.yaxis.range);
    const curves = this.curves(range);
    this.mark(change, range, curves);
    this.countAbove(change, range);
    this.nameAxis(change);
    Plotly.update(this.plot, curves, change, this.traces.map((trace) => trace.index));
    if (this.log) this.markDecades();
    this.dirty = String(this.plot._fullLayout.yaxis.range) !== heights; // labels were placed by the one before
    return true;
  }

  /** What the curves show where the axis has this range: {x, y}, each an array for each of `traces`. */
  curves(range) {
    const window = this.window(range[1] - Math.max(0, range[0]));
    const margin = this.zoomed ? range[1] - range[0] : 0;
    const most = this.zoomed ? DRAWN_ZOOMED : Math.min(DRAWN, DRAWN_TOGETHER / this.traces.length);
    const x = [];
    const y = [];
    for (const trace of this.traces) {
      const curve = this.numbers(trace);
      if (trace.smooth) curve.values = average(curve.steps, curve.means, window);
      if (trace.run === "previous") Object.assign(curve, below(curve, FAR * this.highest()));
      if (trace.only === "lowest") Object.assign(curve, lowest(curve));
      const part = thin(clip(curve, range[0] - margin, range[1] + margin), most);
      x.push(part.steps);
      y.push(part.values);
    }
    return { x, y };
  }

  /** The highest point of this run's own curves. */
  highest() {
    let most = -Infinity;
    for (const trace of this.traces) {
      if (trace.run === "previous") continue;
      for (const value of this.stage.series.get(trace.channel)?.values ?? []) if (value > most) most = value;
    }
    return most > 0 ? most : Infinity;
  }

  /** Has the loss leapt so high that a linear axis shows nothing else? */
  leapt() {
    if (!this.feeds("train/loss")) return false;
    const { values } = this.stage.series.get("train/loss") ?? NOTHING;
    return values.some((value) => value > LEAP * values[0]) && !values.some((value) => value <= 0);
  }

  /** Following: show all of the run, up to the stage's right edge. */
  grow(change) {
    if (this.edge !== this.stage.edge || this.unzoom) {
      this.edge = this.stage.edge;
      change["xaxis.range"] = [0, this.edge];
    }
    if (this.unzoom) change["yaxis.autorange"] = true;
    this.unzoom = false;
  }

  /** Width of the moving average, steps; its label follows. */
  window(span) {
    const share = SMOOTHING[this.stage.smoothing];
    if (this.slider) this.slider.value = this.stage.smoothing;
    const window = share ? Math.max(LEAST_WINDOW, roundish(share * span)) : 0;
    if (this.windowText) this.windowText.textContent = window ? `${whole(window)} steps` : "off";
    return window;
  }

  /** The vertical axis has its name with the unit where there is room for both, else without. */
  nameAxis(change) {
    const { title, _length: height } = this.plot._fullLayout.yaxis;
    const full = this.figure.layout.yaxis?.title?.text ?? "";
    const fits = full.length * 14 * this.stage.scale * 0.5 < height + 20 * this.stage.scale;
    const name = fits ? full : full.split(",")[0];
    if (title.text !== name) change["yaxis.title.text"] = name;
  }

  /** Ticks of the logarithmic axis: as many round numbers as have room for their labels. */
  markDecades() {
    const { range, _length: height } = this.plot._fullLayout.yaxis;
    const values = roundTicks(range[0], range[1], height / (20 * this.stage.scale));
    if (String(values) === this.decades) return;
    this.decades = String(values);
    this.stage.Plotly.relayout(this.plot, {
      "yaxis.tickmode": "array",
      "yaxis.tickvals": values,
      "yaxis.ticktext": values.map((value) => String(value >= 0.01 && value < 1e5 ? value : value.toExponential())),
    });
  }

  /** Vertical lines where events happened, with words where the figure asks for them and there is room. */
  mark(change, range, curves) {
    const wanted = this.figure.layout.meta?.events;
    const ends = this.stage.events.filter(({ name }) => name === "epoch").length;
    const told = this.stage.events.filter(({ name }) => name !== "epoch" || ends <= MOST_EPOCHS);
    const events = wanted ? worthALine(told).slice(-MOST_EVENTS) : [];
    const notes = wanted ? this.stage.notes.slice(-MOST_EVENTS) : [];
    const width = this.plot._fullLayout._size.w;
    const past = this.stage.pastStep;
    const { theme } = this.stage;
    const places = this.placed(range, width, curves);
    const key = JSON.stringify([events.map(({ step }) => step), notes, range, width, past, places]);
    if (key === this.marks) return;
    this.marks = key;
    change.shapes = [...this.fixed.shapes];
    change.annotations = this.fixed.annotations.flatMap((note, index) => put(note, places[index], width));
    const marks = [
      ...events.map((event) => ({ ...event, colour: theme.event, dash: "dot" })),
      ...notes.map((note) => ({ ...note, text: `★ ${note.text}`, colour: theme.text, dash: "dash" })),
    ];
    for (const [step, { colour, dash }] of new Map(marks.map((mark) => [mark.step, mark]))) {
      change.shapes.push({
        type: "line", xref: "x", yref: "paper", x0: step, x1: step, y0: 0, y1: 1, layer: "below",
        line: { color: colour, width: 1.5, dash },
      });
    }
    if (past !== undefined) {
      change.shapes.push({
        type: "line", xref: "x", yref: "paper", x0: past, x1: past, y0: 0, y1: 1,
        line: { color: theme.text, width: 2 },
      });
    }
    if (wanted === "text") change.annotations.push(...this.labels(marks, range, width, this.taken(places)));
  }

  /** The words of the figure's own lines, each beside its line where the curves leave room. */
  placed(range, width, { x, y }) {
    if (!this.fixed.annotations.length) return [];
    const { range: [low, high], _length: height } = this.plot._fullLayout.yaxis;
    const down = (value) => ((high - value) / (high - low)) * height;
    const points = (at) =>
      x[at].flatMap((step, i) => {
        const value = this.log ? Math.log10(y[at][i]) : y[at][i];
        return Number.isFinite(value) ? [[((step - range[0]) / (range[1] - range[0])) * width, down(value)]] : [];
      });
    const named = ({ index }) => this.figure.data[index].showlegend !== false; // not the faint ones behind
    const curves = this.traces.flatMap((trace, at) => (named(trace) ? [points(at)] : []));
    const lines = this.fixed.annotations.map(({ text, y, yanchor, font }) => {
      const top = Math.round(down(y)) - (yanchor === "top" ? 0 : ROW * this.stage.scale);
      return { long: lengthOf(text, font.size), top, bottom: top + ROW * this.stage.scale };
    });
    return (this.places = arrange(lines, curves, width, this.places));
  }

  /** The rows of labels: what the words of the figure's own lines take of each, [from, to] from the left. */
  taken(places) {
    const high = ROW * this.stage.scale;
    const rows = Array.from({ length: LABEL_ROWS }, () => []);
    for (const { left, right, top, bottom } of places.filter(Boolean)) {
      rows.forEach((spans, row) => bottom > row * high && top < (row + 1) * high && spans.push([left, right]));
    }
    return rows;
  }

  /** Ticks of the axis above: round numbers of its channel, at the steps where they were reached. */
  countAbove(change, range) {
    const counted = this.stage.series.get(this.figure.layout.meta?.above);
    if (!counted || counted.steps.length < 2) return;
    const { steps, values } = counted;
    const [least, most] = [Math.max(0, range[0]), range[1]].map((step) => along(steps, values, step));
    const unit = roundish((most - least) / (this.plot._fullLayout._size.w / (110 * this.stage.scale)));
    const key = `${unit} ${least} ${most}`;
    if (key === this.above || !(most > least)) return;
    this.above = key;
    const ticks = [];
    for (let n = Math.ceil(least / unit) * unit; n <= most; n += unit) ticks.push(n);
    change["xaxis2.tickmode"] = "array";
    change["xaxis2.tickvals"] = ticks.map((n) => along(values, steps, n));
    change["xaxis2.ticktext"] = ticks.map(amount);
  }

  /** Notes first, then knobs, then pauses, the newest of each first; on the first row where they touch no other. */
  labels(marks, range, width, taken) {
    const { scale, theme } = this.stage;
    const size = 14 * scale;
    const labels = [];
    for (const { step, text, colour } of marks.toReversed()) {
      const at = ((step - range[0]) / (range[1] - range[0])) * width;
      if (at < 0 || at > width) continue;
      const words = Array.from(text.replace(/\s+/g, " "));
      const most = Math.min(LONGEST_LABEL, Math.floor((Math.max(at, width - at) - 10) / (size * 0.56)));
      const short = words.length > most ? `${words.slice(0, most - 1).join("")}…` : words.join("");
      const length = lengthOf(short, size);
      const left = at + length > width ? at - length : at;
      const row = taken.findIndex((spans) => spans.every(([from, to]) => left > to || left + length < from));
      if (row < 0) continue;
      taken[row].push([left, left + length]);
      labels.push({
        text: literal(short), x: step, xref: "x", y: 1, yref: "paper", yshift: -row * ROW * scale, yanchor: "top",
        xanchor: left < at ? "right" : "left", showarrow: false, font: { size, color: colour, shadow: halo(theme) },
        borderpad: 1, ...(words.length > most && { hovertext: literal(text) }),
      });
    }
    return labels;
  }
}

/** A curve without what lies above `most`; where it leaves, it goes up to there. */
function below({ steps, values }, most) {
  const kept = Array.from(values.keys()).filter((at) => !(values[at] > most && values[at - 1] > most));
  return { steps: kept.map((at) => steps[at]), values: kept.map((at) => Math.min(values[at], most)) };
}

/** The lowest point of a curve, alone; of equal ones the first. */
function lowest({ steps, values }) {
  let at = -1;
  values.forEach((value, index) => {
    if (Number.isFinite(value) && !(value >= values[at])) at = index;
  });
  return at < 0 ? { steps: [], values: [] } : { steps: [steps[at]], values: [values[at]] };
}

/** Where the line through the points (xs, ys), both ascending, is at `x`; beyond its ends it goes straight on. */
function along(xs, ys, x) {
  let at = 1;
  while (at < xs.length - 1 && xs[at] < x) at += 1;
  const slope = (ys[at] - ys[at - 1]) / (xs[at] - xs[at - 1]);
  return ys[at - 1] + slope * (x - xs[at - 1]);
}

/** A label at its place along its line; nothing where it has none. */
function put(note, place, width) {
  if (!place) return [];
  const at = place.place;
  const x = at % 1 ? (place.left + place.right) / 2 / width : at;
  return [{ ...note, x, xanchor: at === 1 ? "right" : at === 0 ? "left" : "center" }];
}

/** The ground's own colour close around the letters: they can be read over a curve, which goes on between them. */
const halo = ({ panel }) => Array(4).fill(`0 0 2px ${panel}`).join(", ");

const source = (trace) => `${trace.run ?? ""} ${trace.channel}`;
// What is known at some steps only says at which: the step over the words is that under the pointer.
const HOVER = ({ name, mode }) =>
  `${literal(name ?? "")} %{y:.4g}${mode?.includes("markers") ? " at step %{x:,.0f}" : ""}<extra></extra>`;

/** A figure's layout in the page's theme: transparent ground, quiet grid, one type size. */
export function dressed(layout, theme, scale) {
  const size = 14 * scale;
  const axis = (own = {}) => ({
    gridcolor: theme.grid, zeroline: false, linecolor: theme.grid, showline: true, ticks: "outside", ticklen: 4,
    tickcolor: theme.grid, tickfont: { size, color: theme.baseline }, ...own,
    title: { ...own.title, font: { size, color: theme.baseline }, standoff: 6 },
  });
  const margin = Object.fromEntries(Object.entries(layout.margin ?? {}).map(([side, wide]) => [side, wide * scale]));
  return {
    ...layout, margin, template: undefined, autosize: true,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", separators: ".,",
    font: { size, color: theme.text, family: theme.font },
    hoverlabel: { bgcolor: theme.background, bordercolor: theme.baseline, font: { size, color: theme.text } },
    xaxis: axis({
      unifiedhovertitle: { text: "step %{x:,.0f}" },
      spikecolor: theme.baseline, spikethickness: -1, spikedash: "dot", ...layout.xaxis,
    }), yaxis: axis(layout.yaxis),
    ...(layout.xaxis2 && { xaxis2: axis(layout.xaxis2) }),
  };
}
