// The panels of the page: which there are for a run, each built once and kept for as long as its key stays.
import { PlaneChart } from "../charts/plane.js";
import { ScatterChart } from "../charts/scatter.js";
import { StepChart } from "../charts/steps.js";
import { TableChart } from "../charts/table.js";
import { prepareFor } from "../client/load.js";
import { LaneSamples, LaneTable } from "./lanes.js";
import { PanelFrame } from "./panel.js";
import { placesOf } from "./places.js";
import { Samples } from "./samples.js";

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {import("../board.js").Board} Board */
/**
 * A panel on the page: its frame and what draws in it; whether it is on screen, and whether it is the main one.
 * @typedef {{frame: PanelFrame, chart: any, inView: boolean, main: boolean, resizing?: number}} Built
 */

// A "plot" is a table or a chart over steps, as its figure says.
const KINDS = {
  samples: Samples, plane: PlaneChart, scatter: ScatterChart, "lane-table": LaneTable, "lane-samples": LaneSamples,
};
const NEARLY_IN_VIEW = "300px";
const TRY_AGAIN = 1000; // ms
const EXAMPLE = "example"; // in place of a run's id

/** @param {Panel} panel */
function classOf({ kind, figure }) {
  return KINDS[kind] ?? (figure.data[0]?.meta?.views ? TableChart : StepChart);
}

export class PanelSet {
  /** @type {Map<string, Built>} */
  all = new Map(); // by their keys
  /** @type {(() => void)[]} */
  waiting = []; // builds charts that come after the main one
  /** @type {string | null | undefined} */
  shownFor = undefined; // the run whose panels these are, or EXAMPLE
  /** @type {{key: string} | null} */
  request = null; // for the panels of a run, the newest
  /** @type {Panel[]} */
  listed = []; // all that the run has; those of the engine room are shown there only
  /** @type {string[]} */
  tokens = []; // by name, as many as are sent
  /** @type {string[]} */
  firsts = []; // the first token of each group of a pooled table
  vocabSize = 0;

  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.resized = new ResizeObserver((entries) => this.resize(entries));
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) this.builtIn(target).inView = isIntersecting;
        board.drawing.request();
      },
      { rootMargin: NEARLY_IN_VIEW },
    );
  }

  get(key) {
    return this.all.get(key);
  }

  /** The charts that share the axis of steps. */
  get overSteps() {
    return [...this.all.values()].map(({ chart }) => chart).filter((chart) => chart instanceof StepChart);
  }

  /** The panel that a node on the page belongs to. */
  builtIn(node) {
    return this.all.get(node.dataset.panel);
  }

  /** Are these the panels of the run on show, or of the example where there is none? */
  get ready() {
    const { run } = this.board.data;
    return run !== undefined && this.shownFor === (run ?? EXAMPLE);
  }

  /** Do any of the charts mark events? */
  get markEvents() {
    return [...this.all.values()].some(({ chart }) => chart.figure?.layout.meta?.events);
  }

  /** Fetch the panels of the run on show and build them, unless they are under way already. */
  async load() {
    const { run } = this.board.data;
    const key = run ?? EXAMPLE;
    if (!this.board.Plotly || run === undefined || this.request?.key === key) return;
    const request = (this.request = { key }); // an answer to an earlier one may come late
    try {
      const answer = await this.board.requests.panels(this.board.page, key);
      await this.board.data.begun; // until then the board of the run before stays
      if (this.request !== request) return;
      this.tokens = answer.tokens ?? [];
      this.firsts = answer.firsts ?? [];
      this.vocabSize = answer.vocab_size ?? this.tokens.length;
      this.board.begin(answer.previous);
      this.listed = answer.panels;
      this.build();
      this.shownFor = key;
    } catch (error) {
      console.warn("loopscope:", error);
      setTimeout(() => this.request === request && this.reload(), TRY_AGAIN);
      return;
    }
    this.board.panelsChanged();
  }

  /** Fetch them again: a recorded run has channels that it did not have before. */
  reload() {
    this.request = null;
    this.load();
  }

  /** Build what is to be shown of those that the run has, and take away the others. */
  build() {
    const list = this.listed.filter((panel) => this.board.engineRoom || !panel.engine_room);
    const keys = new Set(list.map((panel) => panel.key));
    this.waiting = [];
    prepareFor(list.flatMap(({ figure }) => figure ?? []), this.board.Plotly);
    for (const key of this.all.keys()) if (!keys.has(key)) this.drop(key);
    for (const panel of list) {
      const { frame, chart, main } = this.of(panel);
      this.board.stage.append(frame.node);
      if (chart.plot && !chart.figure && !main) {
        frame.setPanel(panel);
        this.waiting.push(() => chart.setPanel(panel));
      } else chart.setPanel(panel);
    }
    this.place(list);
  }

  /** @param {Panel[]} list */
  place(list) {
    const { places, rows } = placesOf(list);
    list.forEach(({ key }, at) => this.all.get(key).frame.node.style.setProperty("--ls-place", places[at]));
    this.board.stage.dataset.rows = rows > 2 ? "many" : String(rows);
  }

  /**
   * The one of this key that is there, or a new one.
   * @param {Panel} panel
   */
  of(panel) {
    const kind = classOf(panel);
    const known = this.all.get(panel.key);
    if (known?.chart instanceof kind) return known;
    if (known) this.drop(panel.key);
    const frame = new PanelFrame(panel);
    const built = { frame, chart: new kind(frame, this.board), inView: true, main: panel.area === "main" };
    this.all.set(panel.key, built);
    frame.body.dataset.panel = panel.key;
    this.resized.observe(frame.body);
    this.seen.observe(frame.node);
    return built;
  }

  drop(key) {
    const { frame, chart } = this.all.get(key);
    this.resized.unobserve(frame.body);
    this.seen.unobserve(frame.node);
    if (chart.plot) this.board.Plotly.purge(chart.plot);
    frame.node.remove();
    this.all.delete(key);
  }

  /** Another run, or the same from its beginning: what was gathered from frames is gone. */
  clear() {
    for (const { chart } of this.all.values()) chart.clear?.();
  }

  /** Draw the figures anew: the page's theme or type has changed, or the curves of the legend. */
  rebuild() {
    for (const { chart } of this.all.values()) if (chart.figure) chart.build(true);
  }

  /** Show an earlier moment in the tables, the plane and the samples, and mark it on the curves; null is now. */
  showPast(past, label) {
    for (const { chart, frame } of this.all.values()) {
      // On each panel, not on the whole board: a style that all of it may inherit is worked out anew everywhere.
      if (past) frame.body.dataset.past = label;
      else delete frame.body.dataset.past;
      chart.showPast?.(past);
    }
  }

  resize(entries) {
    for (const { target } of entries) {
      const built = this.builtIn(target);
      const plot = built?.chart.plot;
      if (!plot?._fullLayout || !plot.offsetWidth) continue;
      cancelAnimationFrame(built.resizing);
      built.resizing = requestAnimationFrame(() => {
        if (!plot.offsetWidth) return;
        this.board.Plotly.Plots.resize(plot).then(() => built.chart.redo());
      });
    }
  }
}
