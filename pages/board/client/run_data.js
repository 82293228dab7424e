// The run as this browser has it: what the frames of the stream have brought so far.
import { Series, average, upTo } from "../charts/series.js";

/** @typedef {import("./wire.js").Frame} Frame */
/** @typedef {{step: number, name: string, text: string}} Event */
/**
 * What a frame changed: `cleared` where it replaces everything, `run` where it begins another run, `charts` where the
 * run has channels that its panels do not show yet; the scalar channels and tables that it brought; whether events.
 * @typedef {{cleared: boolean, run: boolean, charts: boolean, channels: string[], tables: string[],
 *   events: boolean}} Change
 */

const MOST_EVENTS = 200;
const REPEATED = new Set(["epoch", "paused", "resumed"]); // a long run may have hundreds of these: they go first
const MOST_SAMPLES = 200;
const MOST_PASSED = 100; // headers: ten seconds
const COMING = new Set(["ready", "running"]); // states of a run whose first numbers are still to come
const MEAN = ":mean"; // after a channel's name: the means that go with its points
const LONGEST_WAIT = 4; // seconds that all of a board waits for the tables of a step
const TABLE = /^(weights|gradients|projection|table)\//; // a table of two rows has the shape of a scalar channel

export class RunData {
  /** @type {Map<string, Series>} */
  series = new Map();
  /** @type {Map<string, {shape: number[], data: Float32Array}>} */
  newest = new Map(); // tables
  /** @type {Event[]} */
  events = [];
  /** @type {{step: number, text: string}[]} */
  samples = []; // that no panel has shown yet
  /** @type {Record<string, any>} */
  header = { state: "ready" }; // of the run on show
  /** @type {Record<string, any> | null} */
  stream = null; // the newest frame's header: what is on show may be the example instead
  /** @type {string | null | undefined} */
  run = undefined; // of the newest frame; null when there is none
  /** @type {number | null} */
  tablesStep = null; // the step that the newest tables are of; null where there are none
  moment = 0; // the step that everything on the board shows
  fresh = false; // has something come that is not on show?
  /** Resolved when the run on show has something to draw, or will have nothing. @type {Promise<void>} */
  begun = Promise.resolve();
  begin = () => {}; // resolves it
  /** @type {Record<string, any>[]} */
  passed = []; // headers from the moment on, the oldest first

  /**
   * Go on to the newest step of which all has come: that of the tables while the run trains, if they are not long in
   * coming. Says whether there is something new to show.
   */
  advance() {
    const { state, step = 0, steps_per_second: speed = 0, made_again: again } = this.header;
    const waits = state === "running" && !again && this.tablesStep > 0; // the first points are shown as they come
    const late = step - (this.tablesStep ?? step) > LONGEST_WAIT * Math.max(1, speed);
    const moment = waits && !late ? Math.max(this.tablesStep, Math.min(this.moment, step)) : step;
    const news = moment !== this.moment || (this.fresh && moment === step);
    this.moment = moment;
    if (news) this.fresh = false;
    const next = this.passed.findIndex((header) => header.step > moment);
    if (next > 1) this.passed.splice(0, next - 1);
    return news;
  }

  /**
   * The header as it was at the moment on show: what was counted and told up to there.
   * @returns {Record<string, any>}
   */
  get headline() {
    const [before, after = before] = this.passed;
    const { moment } = this;
    if (!before || this.header.step === moment) return { ...this.header, step: moment };
    const share = after.step > before.step ? (moment - before.step) / (after.step - before.step) : 0;
    const between = (name) => before[name] + Math.min(1, Math.max(0, share)) * (after[name] - before[name]);
    const told = before.train_loss && after.train_loss; // null where there is none
    return {
      ...this.header, step: moment, tokens_seen: Math.round(between("tokens_seen")), passes: before.passes,
      epoch: before.epoch, narration: before.narration, train_loss: told && between("train_loss"),
    };
  }

  /** A channel's points up to the moment on show; undefined where it has none. */
  curve(name, moment = this.moment) {
    const series = this.series.get(name);
    return series && upTo(series, moment);
  }

  /**
   * Add a frame of the stream. Returns null where it belongs to a run whose snapshot is still to come.
   * @param {Frame} frame
   * @returns {Change | null}
   */
  receive(frame) {
    const { header } = frame;
    const run = header.run ?? null;
    const snapshot = header.kind === "snapshot";
    if (!snapshot && run !== this.run) return null;
    const change = { cleared: false, run: run !== this.run, charts: false, channels: [], tables: [], events: false };
    this.stream = header;
    // Without a run the recorded example is on show, and a frame that says so again changes nothing.
    if (run === null && this.run === null) return change;
    change.cleared = snapshot;
    change.charts = !change.run && header.charts !== this.header.charts;
    if (snapshot) this.clear();
    if (change.run) {
      this.moment = 0;
      this.begin();
      this.begun = new Promise((resolve) => (this.begin = resolve));
    }
    // A frame that only says that nothing is new leaves out what it would have to look up.
    this.header = snapshot ? header : { not_finite: this.header.not_finite, ...header };
    this.run = run;
    if (header.tables_step !== undefined) this.tablesStep = header.tables_step;
    this.passed.push(header);
    if (this.passed.length > MOST_PASSED) this.passed.shift();
    if (run !== null) Object.assign(change, this.append(frame));
    if (run === null || this.series.size || this.newest.size || !COMING.has(header.state)) this.begin();
    return change;
  }

  /** Show a recorded run, though none is under way. */
  showExample(frame) {
    this.clear();
    this.header = { ...frame.header, state: "ready" };
    this.moment = frame.header.step ?? 0;
    this.append(frame);
  }

  clear() {
    this.series.clear();
    this.newest.clear();
    this.events = [];
    this.samples = [];
    this.tablesStep = null;
    this.passed = [];
  }

  /** @param {Frame} frame */
  append({ header, arrays }) {
    const channels = [];
    const tables = [];
    this.fresh = true;
    for (const [name, { shape, data }] of arrays) {
      if (name.endsWith(MEAN)) continue; // comes with its channel
      if (shape.length === 2 && shape[0] === 2 && !TABLE.test(name)) {
        if (!this.series.has(name)) this.series.set(name, new Series());
        this.series.get(name).append(data, header.base_step ?? 0, arrays.get(name + MEAN)?.data);
        channels.push(name);
      } else {
        this.newest.set(name, { shape, data });
        tables.push(name);
      }
    }
    const events = header.events ?? [];
    if (events.length) this.events = newest(this.events.concat(events));
    this.samples = this.samples.concat(header.samples ?? []).slice(-MOST_SAMPLES);
    return { channels, tables, events: events.length > 0 };
  }

  /**
   * The headline losses at a step: training smoothed, validation as it was measured last; NaN where there is none.
   * @param {number} [moment]
   * @param {number | null} [told] the server's training loss there: every browser thins its own points another way
   */
  losses(moment = this.moment, told = this.headline.train_loss) {
    const val = this.curve("val/loss", moment)?.values.at(-1) ?? NaN;
    return { train: told ?? this.recentLoss(moment), val };
  }

  /** The mean of the last hundredth of the points' steps: for what no server tells, as the example. */
  recentLoss(moment) {
    const points = this.curve("train/loss", moment);
    const exact = this.header.reads_text === false; // each batch is all there is: nothing scatters
    return (points && (exact ? points.values : average(points.steps, points.means, Math.max(5, moment / 100))).at(-1)) ?? NaN;
  }

  /** The samples up to the moment that no panel has shown yet; they count as shown now. */
  takeSamples() {
    const next = this.samples.findIndex(({ step }) => step > this.moment);
    return this.samples.splice(0, next < 0 ? this.samples.length : next);
  }

  /** The events up to the moment on show. */
  get happened() {
    return this.events.filter(({ step }) => step <= this.moment);
  }
}

/**
 * As many events as are kept: the newest, but what happens again and again pushes out no other.
 * @param {Event[]} events
 */
function newest(events) {
  let over = events.length - MOST_EVENTS;
  return events.filter(({ name }) => !(over > 0 && REPEATED.has(name) && over--)).slice(-MOST_EVENTS);
}
