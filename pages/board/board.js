// The live board in the browser: one socket, a store of what came, and the panels that draw it.
// `mount(root, options)` shows it; the same module serves the Streamlit page and the plain /watch page.
// It knows no figure: those come from Python at /panels, and their traces name the channels that feed them.
import { Header, Notices } from "./panels/header.js";
import "./client/keys.js";
import { LaneSamples, LaneTable } from "./panels/lanes.js";
import { loadPlotly, loadStyle, prepareFor } from "./client/load.js";
import { PanelFrame } from "./panels/panel.js";
import { PlaneChart } from "./charts/plane.js";
import { Reporter } from "./client/report.js";
import { Samples } from "./panels/samples.js";
import { ScatterChart } from "./charts/scatter.js";
import { Scrubber } from "./panels/scrubber.js";
import { Series, average, roundish } from "./charts/series.js";
import { StepChart } from "./charts/steps.js";
import { TableChart } from "./charts/table.js";
import { properties, theme, themeAround } from "./charts/theme.js";
import { Connection, decode } from "./client/wire.js";
import { element } from "./dom.js";
import { whole } from "./format.js";

const HERE = new URL(".", import.meta.url).href;
const HINT = "Example: a recorded run. Press Start to train your own.";
const PRESENTER_SCALE = 1.4;
const DRAWING_SHARE = 0.5; // of one core, at most
const PAST_SHARE = 0.35; // the same while an earlier moment is on show: it comes on top, and the run trains on beside it
const CALM = 1000; // ms between two drawings while the page around is still on its way
const ASIDE = 250; // ms between two drawings of a chart other than the main one
// A "plot" is a table or a chart over steps, as its figure says.
const KINDS = {
  samples: Samples, plane: PlaneChart, scatter: ScatterChart, "lane-table": LaneTable, "lane-samples": LaneSamples,
};
const TRAVELS = new Set(["train", "embeddings"]); // the pages with a scrubber under the stage
const MEAN = ":mean"; // after a channel's name: the means that go with its points
const TABLE = /^(weights|gradients|projection|table)\//; // a table of two rows has the shape of a scalar channel

// Boards outlive the page that shows them: a page switch takes the root away and later gives another.
const boards = (window.loopscopeBoards ??= new Map());

/**
 * Show the board of a page inside `root`; calling it again with the same page moves the same board there.
 * Options: `page` (which panels), `base` (where the routes are, default: beside this file), `run` (an id,
 * default "current"), `shown` ({run, state, version, library} that the page was rendered with), `onChange`
 * (called with the same four when the stream differs from it), `presenter` (large type), `hint` (the line over
 * the recorded example), `past` (the step of an earlier moment that the page has opened, else null), `verbs` and
 * `onMoment` (what the page can do with a moment, and the way to ask for it: {verb, step, run}), `onReady` (called
 * when the main chart is drawn, or will not be), `calm` (draw rarely, and the main chart alone: the page needs the
 * time). Returns a function that takes the board out of `root` and keeps it alive.
 */
export function mount(root, options = {}) {
  const base = new URL(options.base || HERE, location.href).href;
  const page = options.page ?? "train";
  const run = options.run ?? "current";
  const key = `${base} ${page} ${run}`;
  if (!boards.has(key)) boards.set(key, new Board(base, page, run));
  const board = boards.get(key);
  board.attach(root, options);
  return () => board.detach(root);
}

class Board {
  series = new Map();
  newest = new Map(); // tables
  scrubber = null;
  events = [];
  notes = []; // that people pinned at a step
  tokens = []; // by name, as many as are sent
  firsts = []; // the first token of each group of a pooled table
  vocabSize = 0;
  head = { state: "ready" };
  run = undefined; // of the newest frame; null when there is none
  opened = null; // the step of the earlier moment that the page has opened
  dressed = undefined; // the run whose panels are on show
  ghost = null;
  panels = new Map();
  undressed = []; // charts still to be built: the main one comes first
  reporter = new Reporter();
  Plotly = null;
  scale = 1;
  edge = 10;
  smoothing = 4; // of the slider's notches

  constructor(base, page, run) {
    Object.assign(this, { base, page });
    this.node = element("div", "ls-board");
    this.node.dataset.page = page;
    this.header = new Header();
    this.notices = new Notices();
    this.stage = element("div", "ls-stage");
    this.node.append(this.header.node, this.notices.node, this.stage);
    if (TRAVELS.has(page)) this.node.append((this.scrubber = new Scrubber(this)).node);
    this.header.node.dataset.state = "connecting";
    loadStyle(base);
    this.theme = theme("dark");
    const address = new URL(`live?run=${encodeURIComponent(run)}`, base);
    address.protocol = address.protocol.replace("http", "ws");
    this.connection = new Connection(address.href, (frame) => this.receive(frame), (status) => this.status(status));
    this.watchPage();
    this.prepare();
  }

  async prepare() {
    try {
      this.Plotly = await loadPlotly(this.base);
    } catch (error) {
      this.notices.say(this.notices.connection, `The charts cannot be drawn: ${error.message}. Reload the page.`);
      this.options?.onReady?.();
      return;
    }
    this.dress();
  }

  // ---- being on a page -------------------------------------------------------------------------------

  attach(root, options) {
    this.options = options;
    if (this.node.parentNode !== root) {
      this.root = root;
      root.append(this.node);
      this.notices.showEnd();
      this.changed.disconnect();
      for (const node of [document.documentElement, document.body, root]) {
        this.changed.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
      }
      this.around.disconnect();
      const block = root.closest('[data-testid="stVerticalBlock"]');
      if (block) this.around.observe(block); // what stands above may grow
    }
    root.classList.toggle("presenter", options.presenter ?? root.classList.contains("presenter"));
    this.look();
    this.fit();
    this.restUntil = 0;
    this.touch();
    this.travel();
    this.fetchNotes();
    this.reporter.drawn(options.shown ?? {}, options.onChange ?? null);
    if (this.stream) this.reporter.compare(this.stream);
  }

  detach(root) {
    if (this.root !== root) return;
    this.root = null;
    this.node.remove();
    this.scrubber?.stop(); // it would go on to fetch moments that nobody sees
    this.reporter.forget();
    this.reporter.onChange = null;
  }

  watchPage() {
    addEventListener("resize", () => this.fit());
    document.addEventListener("visibilitychange", () => this.schedule());
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.look());
    this.changed = new MutationObserver(() => this.look());
    this.around = new ResizeObserver(() => this.fit());
    this.resized = new ResizeObserver((entries) => this.resize(entries));
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.panels.get(target.dataset.panel).inView = isIntersecting;
      this.schedule();
    }, { rootMargin: "300px" });
  }

  /** Follow the page's theme and type size; the charts are built anew only if one of them changed. */
  look() {
    if (!this.node.isConnected) return;
    const name = themeAround(this.node);
    const scale = this.node.closest(".presenter") ? PRESENTER_SCALE : 1;
    const font = getComputedStyle(this.node).fontFamily;
    if (this.node.dataset.theme === name && this.scale === scale && this.theme.font === font) return;
    this.node.dataset.theme = name;
    this.node.style.setProperty("--ls-scale", scale);
    Object.assign(this, { theme: { ...theme(name), font }, scale });
    for (const [property, value] of properties(this.theme)) this.node.style.setProperty(property, value);
    for (const { chart } of this.panels.values()) if (chart.figure) chart.build(true);
    this.fit();
  }

  /** Give the stage what is left of the window below it. */
  fit() {
    if (!this.node.isConnected) return;
    let top = this.node.getBoundingClientRect().top;
    for (let node = this.node.parentElement; node; node = node.parentElement) top += node.scrollTop;
    this.node.style.setProperty("--ls-top", `${Math.round(top)}px`);
  }

  resize(entries) {
    for (const { target } of entries) {
      const panel = this.panels.get(target.dataset.panel);
      const plot = panel?.chart.plot;
      if (!plot?._fullLayout || !plot.offsetWidth) continue;
      cancelAnimationFrame(panel.resizing);
      panel.resizing = requestAnimationFrame(() => {
        if (!plot.offsetWidth) return;
        this.Plotly.Plots.resize(plot).then(() => {
          panel.chart.dirty = true;
          this.schedule();
        });
      });
    }
  }

  // ---- what arrives ----------------------------------------------------------------------------------

  receive(frame) {
    const { header } = frame;
    const run = header.run ?? null;
    if (header.kind !== "snapshot" && run !== this.run) return; // the snapshot of that run is still to come
    this.stream = header; // what is on show may be the example instead
    // Without a run the recorded example is on show, and a frame that says so again changes nothing.
    if (run !== null || this.run !== null) {
      if (header.kind === "snapshot") this.reset();
      const more = run === this.run && header.charts !== this.head.charts;
      this.head = header;
      if (run !== this.run) this.changeRun(run);
      else if (more) this.dressAgain();
      if (run !== null) this.take(frame);
    }
    this.reporter.compare(header);
    this.schedule();
  }

  reset() {
    this.series.clear();
    this.newest.clear();
    this.events = [];
    for (const { chart } of this.panels.values()) chart.clear?.();
    this.pending = [];
  }

  take({ header, arrays }) {
    const base = header.base_step ?? 0;
    for (const [name, { shape, data }] of arrays) {
      if (name.endsWith(MEAN)) continue; // comes with its channel
      if (shape.length === 2 && shape[0] === 2 && !TABLE.test(name)) {
        if (!this.series.has(name)) this.series.set(name, new Series());
        this.series.get(name).append(data, base, arrays.get(name + MEAN)?.data);
      } else {
        this.newest.set(name, { shape, data });
        if (this.scrubber?.past) continue; // an earlier one is on show
      }
      this.touch(name);
    }
    if (header.events?.length) {
      this.events = this.events.concat(header.events).slice(-200);
      this.touch();
    }
    this.pending = (this.pending ?? []).concat(header.samples ?? []).slice(-200);
  }

  changeRun(run) {
    this.run = run;
    this.ghost = null;
    this.scrubber?.live();
    this.opened = null;
    this.notes = [];
    if (run === null) this.showExample();
    else this.dress();
  }

  async showExample() {
    try {
      const answer = await fetch(new URL("example", this.base));
      if (!answer.ok) throw new Error(answer.statusText);
      const frame = decode(await answer.arrayBuffer());
      if (this.run !== null) return;
      this.reset();
      this.head = { ...frame.header, state: "ready" };
      this.take(frame);
    } catch {
      // Without a recording the hint alone says what to do.
    }
    if (this.run === null) await this.dress();
  }

  status({ kind, seconds }) {
    const say = (text) => this.notices.say(this.notices.connection, text);
    clearInterval(this.counting);
    this.node.dataset.connection = kind;
    if (kind === "open") say("");
    else if (kind === "unknown") {
      say("There is no such run here: it was removed, or the address is wrong.");
      this.header.state.textContent = "no such run";
    } else {
      const until = Date.now() + 1000 * seconds;
      const count = () => {
        const left = Math.ceil((until - Date.now()) / 1000);
        say(left > 0 ? `Connection lost, trying again in ${left} s.` : "Connection lost, trying again.");
      };
      count();
      this.counting = setInterval(count, 500);
    }
  }

  // ---- panels ----------------------------------------------------------------------------------------

  /** Fetch the panels of the run and build them; panels of the same key keep their node. */
  async dress() {
    const run = this.run === null ? "example" : this.run;
    if (!this.Plotly || run === undefined || this.dressing?.run === run) return;
    const asked = (this.dressing = { run }); // an answer to an earlier question may come late
    try {
      const query = new URLSearchParams({ page: this.page, run });
      const answer = await fetch(new URL(`panels?${query}`, this.base));
      if (!answer.ok) throw new Error(`/panels answered ${answer.status}`);
      const told = await answer.json();
      if (this.dressing !== asked) return;
      this.tokens = told.tokens ?? [];
      this.firsts = told.firsts ?? [];
      this.vocabSize = told.vocab_size ?? this.tokens.length;
      this.ghost = told.previous ? { run: told.previous, to: 0, steps: [], values: [], means: [] } : null;
      this.edge = 10;
      this.grow();
      this.ghostUpTo(this.edge);
      this.build(told.panels);
      this.dressed = run;
      this.travel();
      this.fetchNotes();
    } catch (error) {
      console.warn("loopscope:", error);
      setTimeout(() => this.dressing === asked && ((this.dressing = null), this.dress()), 1000);
      return;
    }
    this.touch();
  }

  /** A run that somebody records has begun to tell something more. */
  dressAgain() {
    this.dressing = null;
    this.dress();
  }

  build(list) {
    const keys = new Set(list.map((panel) => panel.key));
    this.undressed = [];
    prepareFor(list.flatMap(({ figure }) => figure ?? []), this.Plotly);
    for (const [key, panel] of this.panels) if (!keys.has(key)) this.drop(key, panel);
    for (const panel of list) {
      const kind = KINDS[panel.kind] ?? (panel.figure.data[0]?.meta?.views ? TableChart : StepChart);
      let known = this.panels.get(panel.key);
      if (known && !(known.chart instanceof kind)) {
        this.drop(panel.key, known);
        known = null;
      }
      if (!known) {
        const frame = new PanelFrame(panel);
        known = { frame, chart: new kind(frame, this), inView: true, rest: panel.area === "main" ? 0 : ASIDE };
        this.panels.set(panel.key, known);
        frame.body.dataset.panel = panel.key;
        this.resized.observe(frame.body);
        this.seen.observe(frame.node);
      }
      this.stage.append(known.frame.node);
      if (known.chart.plot && !known.chart.figure && known.rest) {
        known.frame.dress(panel);
        this.undressed.push(() => known.chart.dress(panel));
      } else known.chart.dress(panel);
    }
  }

  drop(key, { frame, chart }) {
    this.resized.unobserve(frame.body);
    this.seen.unobserve(frame.node);
    if (chart.plot) this.Plotly.purge(chart.plot);
    frame.node.remove();
    this.panels.delete(key);
  }

  // ---- the run before --------------------------------------------------------------------------------

  /** Have the previous run's loss up to `step`: as much of it as the axis shows, in full detail. */
  async ghostUpTo(step) {
    const ghost = this.ghost;
    if (!ghost || ghost.to >= step) return;
    ghost.to = step;
    const part = await this.fetchSeries(ghost.run, "train/loss", 0, step);
    if (!part || this.ghost !== ghost || ghost.to !== step) return;
    Object.assign(ghost, part);
    this.touch();
  }

  /** One smoothing for all charts: those too small for a slider follow the others. */
  smooth(notch) {
    this.smoothing = notch;
    this.touch();
  }

  dismissGhost() {
    this.ghost = null;
    for (const { chart } of this.panels.values()) if (chart.figure) chart.build(true);
  }

  /** What people have pinned at steps of the run: asked for when the page is drawn, which it is after a new one. */
  async fetchNotes() {
    const run = this.dressed;
    if (run !== this.run || !this.marksEvents) return;
    try {
      const answer = await fetch(new URL(`notes?${new URLSearchParams({ run })}`, this.base));
      const { notes } = answer.ok ? await answer.json() : { notes: [] };
      if (this.run !== run || JSON.stringify(notes) === JSON.stringify(this.notes)) return;
      this.notes = notes;
      this.touch();
    } catch {
      // The charts are whole without them.
    }
  }

  get marksEvents() {
    return [...this.panels.values()].some(({ chart }) => chart.figure?.layout.meta?.events);
  }

  async fetchSeries(run, channel, from, to) {
    const query = new URLSearchParams({ run, channel, from: Math.floor(Math.max(0, from)), to: Math.ceil(to) });
    try {
      const answer = await fetch(new URL(`series?${query}`, this.base));
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  // ---- an earlier moment -----------------------------------------------------------------------------

  /** Go to the moment that the page has opened, once, and back when it is closed. */
  travel() {
    const past = this.options?.past ?? null;
    if (past === this.opened || this.dressed !== this.run) return;
    this.opened = past;
    if (past === null) this.scrubber?.live();
    else this.scrubber?.go(past);
    this.touch();
  }

  /** The step of the earlier moment on show; undefined while that is the newest. */
  get pastStep() {
    return this.scrubber ? this.scrubber.past?.step : (this.opened ?? undefined);
  }

  /** The tables on show: the newest, or those of an earlier moment. */
  get tables() {
    return this.scrubber?.past?.tables ?? this.newest;
  }

  /** Show an earlier moment in the tables, the plane and the samples, and mark it on the curves; null is now. */
  showPast(past) {
    this.node.classList.toggle("ls-travels", past !== null);
    for (const { chart, frame } of this.panels.values()) {
      // Told to each panel, not to the whole board: a style that all of it may inherit is worked out anew everywhere.
      if (past) frame.body.dataset.past = `step ${whole(past.step)}, past`;
      else delete frame.body.dataset.past;
      chart.showPast?.(past);
      if (past === null) chart.drawn = 0; // the newest comes back at once; a drag keeps to the usual pace of drawing
    }
    if (past === null) this.restUntil = 0;
    this.touch();
  }

  // ---- drawing ---------------------------------------------------------------------------------------

  /** The right edge of the charts moves on in leaps, so that axes and ticks stand still in between. */
  grow() {
    const { step = 0, max_steps: most = 0 } = this.head;
    if (step <= this.edge) return;
    const leap = Math.max(10, step * 1.3);
    this.edge = step <= most && most < leap * 1.1 ? most : Number(leap.toPrecision(2));
    this.ghostUpTo(this.edge);
    this.touch();
  }

  /** Mark the charts fed by a channel, or all of them, to be drawn again. */
  touch(name) {
    for (const { chart } of this.panels.values()) if (!name || chart.feeds?.(name)) chart.dirty = true;
    this.schedule();
  }

  schedule() {
    if (this.scheduled || !this.node.isConnected || document.hidden) return;
    this.scheduled = requestAnimationFrame((now) => {
      this.scheduled = null;
      this.draw(now);
    });
  }

  /** Text first; then charts, within a share of the time so that the page stays quick. */
  draw() {
    if (!this.node.isConnected || this.run === undefined) return; // nothing has come yet
    this.header.show(this.head, this.losses());
    this.scrubber?.show(this.head, this.run);
    this.notices.show(this.head, this.run === null ? (this.options?.hint ?? HINT) : null);
    this.node.classList.toggle("ls-example", this.run === null);
    if (this.dressed !== (this.run === null ? "example" : this.run)) return;
    this.grow();
    const samples = this.panels.get("samples")?.chart;
    if (samples && this.pending?.length) samples.add(this.pending.splice(0));
    const now = performance.now();
    if (now >= (this.restUntil ?? 0)) this.drawCharts(now);
    else setTimeout(() => this.schedule(), this.restUntil - now);
  }

  /** The main chart each time; beside it the next that is not built yet, or the one other that has waited longest. */
  drawCharts(start) {
    const due = [...this.panels.values()]
      .filter(({ chart, inView }) => chart.render && chart.figure && chart.dirty && inView)
      .sort((one, other) => one.chart.drawn - other.chart.drawn);
    const { calm, onReady } = this.options ?? {};
    const main = due.find((panel) => !panel.rest);
    const opening = main && !main.chart.drawn; // its first curve comes before all else
    const building = opening || calm ? null : this.undressed.shift();
    const waited = ({ chart, rest }) => rest && start - chart.drawn >= rest;
    const next = opening || calm || building ? null : due.find(waited);
    for (const panel of [main, next]) if (panel?.chart.render()) panel.chart.drawn = performance.now();
    building?.();
    if (opening && main.chart.drawn) requestAnimationFrame(() => onReady?.());
    const spent = performance.now() - start;
    const share = this.scrubber?.past ? PAST_SHARE : DRAWING_SHARE;
    this.restUntil = building ? 0 : start + Math.max(spent / share, calm ? CALM : 0);
    clearTimeout(this.again);
    const more = this.undressed.length || due.some(({ chart }) => chart.dirty);
    if (more) this.again = setTimeout(() => this.schedule(), building ? 0 : Math.max(50, spent));
  }

  losses() {
    const train = this.series.get("train/loss");
    const last = (values) => values[values.length - 1];
    const window = Math.max(5, roundish(0.01 * (this.head.step ?? 0)));
    const exact = this.head.reads_text === false; // each batch is all there is: nothing scatters
    const smooth = train ? last(exact ? train.values : average(train.steps, train.means, window)) : NaN;
    const val = this.series.get("val/loss");
    return { train: smooth ?? NaN, val: val ? last(val.values) : NaN };
  }
}
