// The live board in the browser: one socket, what has come through it, and the panels that draw that.
// `mount(root, options)` shows it, on a Streamlit page as on the plain /watch page. Its figures come from Python, at
// /panels; their traces name the channels that feed them.
import { StepAxis } from "./charts/step_axis.js";
import { properties, theme, themeAround } from "./charts/theme.js";
import { inEngineRoom, keep } from "./client/engine_room.js";
import "./client/cards.js";
import "./client/keys.js";
import { loadPlotly, loadStyle } from "./client/load.js";
import { PreviousRun } from "./client/previous_run.js";
import { Reporter } from "./client/report.js";
import { Requests } from "./client/requests.js";
import { RunData } from "./client/run_data.js";
import { Connection } from "./client/wire.js";
import { element } from "./dom.js";
import { Drawing } from "./drawing.js";
import { whole } from "./format.js";
import { restore } from "./panels/fill.js";
import { Header } from "./panels/header.js";
import { Notices } from "./panels/notices.js";
import { PanelSet } from "./panels/panel_set.js";
import { QuestionPanel } from "./panels/question.js";
import { Scrubber } from "./panels/scrubber.js";

/** @typedef {import("./client/report.js").Shown} Shown */
/**
 * How a page shows a board:
 * `page`: which panels; `base`: where the routes are, default: beside this file; `run`: an id, default "current";
 * `shown`: what the page was rendered with; `onChange`: called with the same where the stream differs from it;
 * `presenter`: large type; `hint`: the line over the recorded example; `past`: the step of an earlier moment that the
 * page has opened, else null; `verbs` and `onMoment`: what the page can do with a moment, and the way to ask for it;
 * `onReady`: called when the main chart is drawn, or will not be; `calm`: draw rarely, and the main chart alone: the
 * page needs the time; `audience`: for people who are shown no tracebacks and file names; `engineRoom`: all panels, where
 * the page knows, else as this browser chose last; `told`: the page itself says what is the matter with a run that diverges.
 * @typedef {{page?: string, audience?: boolean, base?: string, run?: string, shown?: Shown, onChange?: (shown: Shown) => void,
 *   presenter?: boolean, hint?: string, past?: number | null, verbs?: string[], onReady?: () => void, calm?: boolean, engineRoom?: boolean,
 *   told?: boolean,
 *   onMoment?: (request: {verb: string, step: number, run: string}) => void}} Options
 */

const HERE = new URL(".", import.meta.url).href;
const HINT = "Example: a recorded run. Press Start to train your own.";
const PRESENTER_SCALE = 1.4;
const FIRST_SMOOTHING = 4; // of the slider's notches
const WITH_SCRUBBER = new Set(["train", "embeddings"]); // pages
const COUNT_EVERY = 500; // ms
const COMES_BACK = 1000; // ms within which a place that gave the board up asks for it again
const CUT = new Set(["silent", "lost", "full"]); // of the connection: what is on show is no longer news

// Boards outlive the page that shows them: a page switch takes the root away and later gives another.
/** @type {Map<string, Board>} */
const boards = (window.loopscopeBoards ??= new Map());

/**
 * Show the board of a page inside `root`; calling it again with the same page moves the same board there.
 * Returns a function that takes the board out of `root` and keeps it alive, unless it has been shown anew since: where
 * the page is drawn twice in a row, Streamlit gives the first showing up after it has begun the second.
 * @param {HTMLElement} root
 * @param {Options} [options]
 */
export function mount(root, options = {}) {
  const base = new URL(options.base || HERE, location.href).href;
  const page = options.page ?? "train";
  const run = options.run ?? "current";
  const key = `${base} ${page} ${run}`;
  if (!boards.has(key)) boards.set(key, new Board(base, page, run, options.audience));
  const board = boards.get(key);
  const showing = board.attach(root, options);
  return () => showing === board.showings && board.detach(root);
}

export class Board {
  data = new RunData();
  axis = new StepAxis();
  reporter = new Reporter();
  /** @type {any} */
  Plotly = null;
  /** @type {HTMLElement | null} */
  root = null; // the place on the page that it stands in
  showings = 0; // how often it was put there
  /** @type {Options | null} */
  options = null;
  /** @type {Scrubber | null} */
  scrubber = null; // on the pages that have one
  /** @type {PreviousRun | null} */
  previousRun = null;
  /** @type {number | null} */
  opened = null; // the step of the earlier moment that the page has opened
  /** @type {{step: number, text: string}[]} */
  notes = []; // that people pinned at a step
  refusal = ""; // the server's words, where it lets this page not connect
  scale = 1;
  smoothing = FIRST_SMOOTHING;
  engineRoom = inEngineRoom(); // are all panels shown, or a beginner's?

  /**
   * @param {string} base address that the routes stand under
   * @param {string} page
   * @param {string} run
   * @param {boolean} [audience]
   */
  constructor(base, page, run, audience = false) {
    this.base = base;
    this.page = page;
    this.requests = new Requests(base);
    this.node = element("div", "ls-board");
    this.node.dataset.page = page;
    this.header = new Header();
    this.notices = new Notices();
    this.question = new QuestionPanel(this);
    this.stage = element("div", "ls-stage");
    this.panels = new PanelSet(this);
    this.drawing = new Drawing(this);
    this.node.append(this.header.node, this.notices.node, this.question.node, this.stage);
    this.header.node.dataset.state = "connecting";
    loadStyle(base, "board.css");
    loadStyle(base, "panels/question.css");
    /** @type {Record<string, string>} */
    this.theme = theme("dark");
    const address = new URL(`live?run=${encodeURIComponent(run)}`, base);
    address.protocol = address.protocol.replace("http", "ws");
    if (audience) address.searchParams.set("audience", "");
    this.connection = new Connection(address.href, (frame) => this.receive(frame), (status) => this.showStatus(status));
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
    this.panels.load();
  }

  // ---- being on a page -------------------------------------------------------------------------------

  /** Stand in `root` and do as it says; returns which showing of the board this is. */
  attach(root, options) {
    this.showings += 1;
    this.options = options;
    this.root = root;
    if (this.node.parentNode !== root) {
      root.append(this.node);
      this.notices.showEnd();
      this.themeChange.disconnect();
      for (const node of [document.documentElement, document.body, root]) {
        this.themeChange.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
      }
      this.around.disconnect();
      const block = root.closest('[data-testid="stVerticalBlock"]');
      if (block) this.around.observe(block); // what stands above may grow
    }
    root.classList.toggle("presenter", options.presenter ?? root.classList.contains("presenter"));
    this.placeScrubber(WITH_SCRUBBER.has(this.page) || root.classList.contains("presenter"));
    if (options.engineRoom !== undefined) this.chooseRoom(options.engineRoom);
    this.followTheme();
    this.fit();
    this.drawing.hurry();
    this.travel();
    this.fetchNotes();
    this.reporter.drawn(options.shown ?? {}, options.onChange ?? null);
    if (this.data.stream) this.reporter.compare(this.data.stream);
    return this.showings;
  }

  /** Show all panels, or those of a beginner. */
  chooseRoom(engineRoom) {
    keep(engineRoom);
    if (engineRoom === this.engineRoom) return;
    this.engineRoom = engineRoom;
    if (this.panels.listed.length) this.panels.build();
  }

  /** Some pages have it always; while one presents, all of them have. */
  placeScrubber(wanted) {
    if (wanted === (this.scrubber !== null)) return;
    this.scrubber?.goLive();
    this.scrubber?.node.remove();
    this.scrubber = wanted ? new Scrubber(this) : null;
    if (this.scrubber) this.node.append(this.scrubber.node);
    this.opened = null;
  }

  /**
   * The place gives the board up. Streamlit does so each time that it draws the page, and asks for the board again right
   * after: until it has had time to, the board stays where it is, or a frame would be blank.
   */
  detach(root) {
    if (this.root !== root) return;
    this.root = null;
    this.reporter.forget();
    this.reporter.onChange = null;
    setTimeout(() => this.root ?? this.leave(root), COMES_BACK);
  }

  /** @param {HTMLElement} root the place that it stood in */
  leave(root) {
    restore();
    if (this.node.parentNode === root) this.node.remove();
    this.scrubber?.stop(); // it would go on to fetch moments that nobody sees
  }

  watchPage() {
    addEventListener("resize", () => this.fit());
    document.addEventListener("visibilitychange", () => this.drawing.request());
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.followTheme());
    this.themeChange = new MutationObserver(() => this.followTheme());
    this.around = new ResizeObserver(() => this.fit());
  }

  /** Follow the page's theme and type size; the charts are built anew only if one of them changed. */
  followTheme() {
    if (!this.node.isConnected) return;
    const name = themeAround(this.node);
    const scale = this.node.closest(".presenter") ? PRESENTER_SCALE : 1;
    const font = getComputedStyle(this.node).fontFamily;
    if (this.node.dataset.theme === name && this.scale === scale && this.theme.font === font) return;
    this.theme = { ...theme(name), font };
    this.scale = scale;
    this.node.dataset.theme = name;
    this.node.style.setProperty("--ls-scale", String(scale));
    for (const [property, value] of properties(this.theme)) this.node.style.setProperty(property, value);
    this.panels.rebuild();
    this.fit();
  }

  /** Give the board what is left of the window below it. */
  fit() {
    if (!this.node.isConnected) return;
    let top = this.node.getBoundingClientRect().top;
    for (let node = this.node.parentElement; node; node = node.parentElement) top += node.scrollTop;
    this.node.style.setProperty("--ls-top", `${Math.round(top)}px`);
    this.question.fit();
  }

  // ---- what arrives ----------------------------------------------------------------------------------

  /** @param {import("./client/wire.js").Frame} frame */
  receive(frame) {
    const { question, standing } = frame.header;
    if (question !== undefined) this.showQuestion(question); // each viewer is told once, and when it changes
    if (standing) return this.stand(standing);
    const change = this.data.receive(frame);
    if (!change) return;
    if (change.run) this.changeRun();
    else if (change.cleared) this.panels.clear();
    else if (change.charts) this.panels.reload();
    this.reporter.compare(frame.header);
    this.drawing.request();
  }

  /** There is no seat at the live charts; questions come all the same. */
  stand(why) {
    this.notices.say(this.notices.connection, `${why}. The charts come when a seat is free; questions can be answered here.`);
    if (this.data.run === undefined) this.header.state.textContent = "waiting for a seat";
  }

  /** @param {import("./panels/question.js").Question | null} question */
  showQuestion(question) {
    const drawn = [this.question.question, question].some((one) => one?.kind === "curve" && !one.open);
    this.question.show(question);
    if (drawn) this.drawing.touch(); // curves that people drew stand on the chart too
  }

  changeRun() {
    this.previousRun = null;
    this.scrubber?.goLive();
    this.opened = null;
    this.notes = [];
    this.node.classList.toggle("ls-starting", this.panels.shownFor !== undefined && this.data.run !== null);
    if (this.data.run === null) this.showExample();
    else this.panels.load();
  }

  async showExample() {
    try {
      const frame = await this.requests.example();
      if (this.data.run !== null) return;
      this.panels.clear();
      this.data.showExample(frame);
      this.drawing.touch();
    } catch {
      // Without a recording the hint alone says what to do.
    }
    if (this.data.run === null) await this.panels.load();
  }

  /** @param {{kind: string, seconds?: number, reason?: string}} status of the connection */
  showStatus({ kind, seconds, reason }) {
    const say = (text) => this.notices.say(this.notices.connection, text);
    const before = this.node.dataset.connection;
    clearInterval(this.counting);
    this.node.dataset.connection = kind;
    if (kind === "open") say((this.refusal = ""));
    else if (kind === "silent") say("Nothing comes from the server. What you see is from before.");
    else if (kind === "unknown") {
      say("There is no such run here: it was removed, or the address is wrong.");
      this.header.state.textContent = "no such run";
    } else {
      if (kind === "lost" && !this.data.stream) this.askWhy();
      const until = Date.now() + 1000 * seconds;
      const count = () => {
        const left = Math.ceil((until - Date.now()) / 1000);
        const again = left > 0 ? `rying again in ${left} s.` : "rying again.";
        if (this.refusal) say(`${this.refusal} T${again}`);
        else say(`${kind === "full" ? reason : "Connection lost"}, t${again}`);
      };
      count();
      this.counting = setInterval(count, COUNT_EVERY);
    }
    if (kind !== before && kind !== "unknown" && this.data.run !== undefined) this.showText();
  }

  /** Nothing has ever come: the server may have refused the page. */
  async askWhy() {
    this.refusal = await this.requests.refusal();
  }

  /** Write header, scrubber and notices: numbers of the moment on show, and what the run is doing now. */
  showText() {
    const { data, scrubber } = this;
    const { run, header } = data;
    const past = scrubber?.past;
    /** @type {Record<string, any>} */
    const shown = past
      ? { ...header, ...past.told, step: past.step, tokens_seen: NaN, passes: NaN, not_finite: {} }
      : data.headline;
    this.node.dataset.step = String(shown.step ?? 0);
    this.header.show(shown, data.losses(past?.step, shown.train_loss), !CUT.has(this.node.dataset.connection));
    scrubber?.show(header, run);
    this.header.tell(run === null ? (this.options?.hint ?? HINT) : (shown.narration?.text ?? ""));
    this.notices.show(header, this.options?.told);
    this.node.classList.toggle("ls-example", run === null);
  }

  /** The step that the tables on show are of. */
  get tablesStep() {
    return this.scrubber?.past?.step ?? this.data.tablesStep ?? this.data.moment;
  }

  // ---- another run, the run before, and what people noted ----------------------------------------------

  /** The panels of a run are about to be built; `previous` is the run before it, if there was one. */
  begin(previous) {
    this.previousRun = previous ? new PreviousRun(previous, this.requests) : null;
    this.drawing.begin();
  }

  /** The panels of a run have been built. */
  panelsChanged() {
    this.node.classList.remove("ls-starting");
    this.question.fit();
    this.travel();
    this.fetchNotes();
    this.drawing.touch();
  }

  async loadPrevious() {
    const { previousRun } = this;
    if ((await previousRun?.loadTo(this.axis.edge)) && this.previousRun === previousRun) this.drawing.touch();
  }

  dismissPreviousRun() {
    this.previousRun = null;
    this.panels.rebuild();
  }

  /** What people have pinned at steps of the run: asked for when the page is drawn, which it is after a new one. */
  async fetchNotes() {
    const { run } = this.data;
    if (this.panels.shownFor !== run || !this.panels.markEvents) return;
    try {
      const notes = await this.requests.notes(run);
      if (this.data.run !== run || JSON.stringify(notes) === JSON.stringify(this.notes)) return;
      this.notes = notes;
      this.drawing.touch();
    } catch {
      // The charts are whole without them.
    }
  }

  /** One smoothing for all charts: those too small for a slider follow the others. */
  smooth(notch) {
    this.smoothing = notch;
    this.drawing.touch();
  }

  /** All charts show this stretch of the axis of steps; null is the whole run again. */
  zoomSteps(range) {
    this.axis.zoom = range && this.axis.steps(range);
    for (const chart of this.panels.overSteps) chart.zoomSteps(range !== null);
  }

  /** The axis of steps of all charts becomes logarithmic, or linear again. */
  logSteps() {
    this.axis.log = !this.axis.log;
    for (const chart of this.panels.overSteps) {
      chart.wantDetail();
      if (chart.figure) chart.build(true);
    }
  }

  // ---- an earlier moment -----------------------------------------------------------------------------

  /** Go to the moment that the page has opened, once, and back when it is closed. */
  travel() {
    const past = this.options?.past ?? null;
    if (past === this.opened || this.panels.shownFor !== this.data.run) return;
    this.opened = past;
    if (past === null) this.scrubber?.goLive();
    else this.scrubber?.go(past);
    this.drawing.touch();
  }

  /** The step of the earlier moment on show; undefined while that is the newest. */
  get pastStep() {
    return this.scrubber ? this.scrubber.past?.step : (this.opened ?? undefined);
  }

  /** The tables on show: the newest, or those of an earlier moment. */
  get tables() {
    return this.scrubber?.past?.tables ?? this.data.newest;
  }

  /** Show an earlier moment; null is the newest. */
  showPast(past) {
    this.node.classList.toggle("ls-travels", past !== null);
    this.panels.showPast(past, past && `step ${whole(past.step)}, past`);
    if (past === null) this.drawing.hurry();
    else this.drawing.touch();
  }
}
