// The run as this browser has it: what the frames of the stream have brought so far.
import { Series, average } from "../charts/series.js";
import { roundish } from "../charts/ticks.js";

/** @typedef {import("./wire.js").Frame} Frame */
/** @typedef {{step: number, name: string, text: string}} Event */
/**
 * What a frame changed: `cleared` where it replaces everything, `run` where it begins another run, `charts` where the
 * run has channels that its panels do not show yet; the scalar channels and tables that it brought; whether events.
 * @typedef {{cleared: boolean, run: boolean, charts: boolean, channels: string[], tables: string[],
 *   events: boolean}} Change
 */

const MOST_EVENTS = 200;
const MOST_SAMPLES = 200;
const MEAN = ":mean"; // after a channel's name: the means that go with its points
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
    this.header = header;
    this.run = run;
    return run === null ? change : Object.assign(change, this.append(frame));
  }

  /** Show a recorded run, though none is under way. */
  showExample(frame) {
    this.clear();
    this.header = { ...frame.header, state: "ready" };
    this.append(frame);
  }

  clear() {
    this.series.clear();
    this.newest.clear();
    this.events = [];
    this.samples = [];
  }

  /** @param {Frame} frame */
  append({ header, arrays }) {
    const channels = [];
    const tables = [];
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
    if (events.length) this.events = this.events.concat(events).slice(-MOST_EVENTS);
    this.samples = this.samples.concat(header.samples ?? []).slice(-MOST_SAMPLES);
    return { channels, tables, events: events.length > 0 };
  }

  /** The headline losses: training smoothed, validation as it was measured last; NaN where there is none. */
  losses() {
    const train = this.series.get("train/loss");
    const window = Math.max(5, roundish(0.01 * (this.header.step ?? 0)));
    const exact = this.header.reads_text === false; // each batch is all there is: nothing scatters
    const smooth = train && (exact ? train.values : average(train.steps, train.means, window));
    return { train: smooth?.at(-1) ?? NaN, val: this.series.get("val/loss")?.values.at(-1) ?? NaN };
  }
}
