// The scrubber under the stage: an earlier moment of the run in place of the newest one, while training goes on.
// It fetches stored moments, one at a time, and says which is on show; the board draws it. What only the page can do
// with a moment (open its full state, fork there, pin a note) it is asked for by `options.onMoment`.
import { element, nameOf, write } from "../dom.js";
import { figures, whole } from "../format.js";

/** @typedef {import("../client/wire.js").Table} Table */
/**
 * @typedef {{step: number, tables: Map<string, Table>, sample: any, scalars: Record<string, number>,
 *   told: {narration: {text: string} | null, train_loss: number | null}}} Past
 */

const SPEEDS = [1, 5, 20, 50]; // stored moments a second
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }; // stored moments
const LISTED = 2000; // ms that a list of the stored moments is good for

export class Scrubber {
  /** @type {Past | null} */
  past = null; // the moment on show; null while that is the newest
  active = false; // somebody has left the newest moment, though the other may not have come yet
  busy = false; // a moment is being fetched
  wanted = null; // the step to go to next
  timer = null; // of the next moment while it plays
  /** @type {{run: string, steps: number[], stored: boolean, at: number} | null} */
  listed = null;

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    this.board = board;
    this.node = element("div", "ls-scrubber", "", { hidden: true });
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", "Time travel");
    this.playButton = this.button("replay", "Play the stored moments one after another", () => this.play());
    this.playButton.classList.add("ls-replay");
    this.speed = element("select", "ls-button ls-speed", "", { title: "Stored moments a second" });
    this.speed.setAttribute("aria-label", "Stored moments a second");
    for (const speed of SPEEDS) this.speed.append(element("option", "", `${speed}×`, { value: String(speed) }));
    this.slider = element("input", "ls-moment", "", { type: "range", min: 0, max: 1, step: 1, value: 1 });
    this.slider.setAttribute("aria-label", "Moment of the run, in steps");
    this.slider.oninput = () => {
      this.stop();
      this.seek(Number(this.slider.value));
    };
    this.slider.onkeydown = (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      this.move(KEYS[event.key]);
    };
    this.label = element("span", "ls-said", "now");
    this.verbs = {
      open: this.button("open", "Open the full state of this step: Step, Inside and Embeddings then work on it", () =>
        this.ask("open"),
      ),
      fork: this.button("fork", "Fork the run at this step", () => this.ask("fork")),
      note: this.button("note", "Pin a note at this step of the charts", () => this.ask("note")),
    };
    this.liveButton = this.button("live", "Back to the newest step", () => {
      this.goLive();
      if (this.board.opened !== null) this.ask("live");
    });
    this.liveButton.classList.add("ls-live");
    const verbs = Object.values(this.verbs);
    this.node.append(this.slider, this.playButton, this.speed, this.label, ...verbs, this.liveButton);
    this.speed.value = String(SPEEDS[1]);
  }

  button(word, hint, onclick) {
    const button = element("button", "ls-button", word, { type: "button", title: hint, onclick });
    button.setAttribute("aria-label", nameOf(word, hint));
    return button;
  }

  /** Keep up with the run: the slider's end is its newest step. */
  show({ step = 0 }, run) {
    const none = run === null || run === undefined;
    this.node.hidden = none && !this.board.options?.presenter; // a bar that is always there moves nothing by coming
    this.slider.disabled = this.playButton.disabled = none || step < 1;
    this.slider.max = String(Math.max(1, step));
    if (!this.active) this.slider.value = this.slider.max;
    this.liveButton.disabled = !this.active;
    const possible = this.board.options?.verbs ?? [];
    for (const [verb, button] of Object.entries(this.verbs)) {
      button.hidden = !possible.includes(verb);
      button.disabled = !this.past; // there all the same: the slider must not change its length under a drag
    }
    if (this.past && this.past.step === this.board.opened) this.verbs.open.disabled = true;
  }

  /** Have the page do something with the moment on show. */
  ask(verb) {
    this.stop();
    this.board.options?.onMoment?.({ verb, step: this.past?.step ?? 0, run: this.board.data.run });
  }

  /** To the stored moment so many further on, or back. */
  async move(moments) {
    this.stop();
    const run = this.board.data.run;
    const steps = await this.list();
    if (!steps.length || this.board.data.run !== run) return;
    const at = steps.findLastIndex((step) => step <= Number(this.slider.value));
    this.go(steps[Math.min(Math.max(at + moments, 0), steps.length - 1)]);
  }

  go(step) {
    this.slider.value = step;
    this.seek(step);
  }

  /** Show the stored moment at or before `step`; of many asked for in a hurry, the newest. */
  async seek(step) {
    if (this.board.data.run === undefined) return; // nothing has come yet; the board travels there when it has
    this.active = true;
    this.wanted = step;
    this.board.drawing.request();
    if (this.busy) return;
    this.busy = true;
    while (this.wanted !== null && this.active) {
      const asked = this.wanted;
      this.wanted = null;
      const run = this.board.data.run;
      const frame = await this.moment(run, asked);
      if (!this.active || this.board.data.run !== run) continue;
      if (frame) this.showMoment(frame);
      else write(this.label, `nothing stored at step ${whole(asked)}`);
    }
    this.busy = false;
  }

  /** The steps of all stored moments; of a run that is not stored, of all points of its curves. */
  async list() {
    const { run } = this.board.data;
    if (this.listed?.run === run && performance.now() - this.listed.at < LISTED) return this.listed.steps;
    try {
      const stored = await this.board.requests.moments(run);
      const steps = stored.length ? stored : this.heldSteps();
      this.listed = { run, steps, stored: stored.length > 0, at: performance.now() };
    } catch {
      return [];
    }
    return this.listed.steps;
  }

  /** The moment at or before a step; null where there is none. */
  async moment(run, step) {
    await this.list();
    return this.listed?.stored ? this.board.requests.moment(run, step) : this.held(step);
  }

  /** The steps of the curves that this browser holds. */
  heldSteps() {
    const all = [...this.board.data.series.values()].map(({ steps }) => steps);
    return all.reduce((longest, steps) => (steps.length > longest.length ? steps : longest), []);
  }

  /** The numbers of the curves at a step, as if they had been stored. */
  held(step) {
    const at = this.heldSteps().findLast((held) => held <= step);
    if (at === undefined) return null;
    const scalars = {};
    for (const [channel, { steps, values }] of this.board.data.series) {
      const place = steps.findLastIndex((held) => held <= at);
      if (place >= 0) scalars[channel] = values[place];
    }
    return { header: { step: at, scalars }, arrays: new Map() };
  }

  /** @param {import("../client/wire.js").Frame} frame */
  showMoment({ header, arrays }) {
    const { step, scalars = {}, narration = null, train_loss = null } = header;
    this.past = { step, scalars, tables: arrays, sample: header.samples?.[0] ?? null, told: { narration, train_loss } };
    if (this.wanted === null) this.slider.value = step; // it stands at what is shown, and acted on, not between two
    const loss = scalars["train/loss"];
    write(this.label, `step ${whole(step)}, past${Number.isFinite(loss) ? ` · loss ${figures(loss)}` : ""}`);
    this.board.showPast(this.past);
  }

  /** Back to the newest step. */
  goLive() {
    this.stop();
    if (!this.active) return;
    this.active = false;
    this.past = this.wanted = null;
    write(this.label, "now");
    this.board.showPast(null);
  }

  async play() {
    if (this.timer) return this.stop();
    const run = this.board.data.run;
    const steps = await this.list();
    if (!steps.length || this.timer || this.board.data.run !== run) return;
    const from = this.active ? Number(this.slider.value) : -1;
    let at = steps.findIndex((step) => step > from);
    const next = () => {
      if (at < 0 || at >= steps.length || this.board.data.run !== run) return this.goLive();
      this.go(steps[at]);
      at += 1;
      this.timer = setTimeout(next, 1000 / Number(this.speed.value));
    };
    write(this.playButton, "hold");
    next();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    write(this.playButton, "replay");
  }
}
