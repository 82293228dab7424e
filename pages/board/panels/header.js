// The lines above the stage: state, title, progress, the headline numbers, and what just happened in words.
import { element, write } from "../dom.js";
import { amount, clock, figures, whole } from "../format.js";

const WORDS = {
  ready: "ready", running: "training", paused: "paused", done: "done", stopped: "stopped",
  diverged: "diverged", failed: "failed",
};

export class Header {
  constructor() {
    this.node = element("header", "ls-header");
    this.node.setAttribute("aria-live", "off");
    const line = element("div", "ls-line");
    this.dot = element("i", "ls-state-dot");
    this.state = element("b", "ls-state", "connecting");
    this.title = element("span", "ls-run");
    this.steps = element("span", "ls-steps");
    this.bar = element("span", "ls-bar");
    this.fill = this.bar.appendChild(element("i"));
    this.bar.setAttribute("role", "progressbar");
    this.bar.setAttribute("aria-label", "steps done");
    this.speed = element("span");
    this.eta = element("span");
    this.device = element("span");
    const state = element("span", "ls-word-state");
    state.append(this.dot, this.state);
    line.append(state, this.title, this.steps, this.bar, this.speed, this.eta, this.device);
    const numbers = element("div", "ls-numbers");
    this.numbers = {};
    for (const [key, label, hint] of [
      ["train", "train", "Training loss, smoothed (of text: nats per token)"],
      ["val", "val", "Validation loss on fixed batches, nats per token"],
      ["bits", "bits/char",
        "Bits per character: validation loss (training loss where there is none) ÷ ln 2 ÷ characters per token"],
      ["tokens", "tokens seen", ""],
    ]) {
      const box = element("span", `ls-number ls-${key}`, "", { title: hint });
      this.numbers[key] = element("b");
      box.append(element("span", "", label), this.numbers[key]);
      numbers.append(box);
    }
    this.told = element("p", "ls-told");
    this.told.setAttribute("role", "status");
    this.node.append(line, numbers, this.told);
  }

  /** The narrator's line: what just happened, in words; without a run, what to do. */
  tell(text) {
    write(this.told, text);
  }

  /**
   * `header` is that of the newest frame, `train` and `val` losses in nats per token. Where the server is not
   * `connected` nobody knows what the run does now.
   */
  show(header, { train, val }, connected = true) {
    const { step = 0, max_steps: most = 0, steps_per_second: speed } = header;
    const running = connected && header.state === "running";
    const again = header.made_again; // on the way from a snapshot to `step`, which the curves show already
    const state = WORDS[header.state] ?? String(header.state);
    const word = !connected ? "no connection" : again ? "catching up" : header.interrupted ? "interrupted" : state;
    this.node.dataset.state = header.state;
    const lost = header.not_finite ?? {}; // since which step a loss is no number
    this.node.dataset.trouble = String(header.trouble === true || lost["train/loss"] !== undefined);
    write(this.state, word);
    write(this.title, header.title ?? "");
    this.title.title = header.parameters ? `${header.title}, ${whole(header.parameters)} parameters` : "";
    const epoch = header.epochs ? `, epoch ${whole(header.epoch)} of ${whole(header.epochs)}` : "";
    const over = most && step > most; // cut to fewer than it had made
    const of = !most ? " steps" : over ? ` steps, cut to ${whole(most)}` : ` / ${whole(most)} steps`;
    write(this.steps, again ? remaking(step, again) : `${whole(step)}${of}${epoch}`);
    this.bar.hidden = !most && !again; // a run from elsewhere may not say where it ends
    const begun = again?.from ?? 0;
    const share = Math.min(1, ((again?.at ?? step) - begun) / Math.max(1, (again ? step : most) - begun));
    this.fill.style.transform = `scaleX(${share.toFixed(4)})`;
    this.bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    write(this.speed, running && speed > 0 ? `${speed < 10 ? speed.toFixed(1) : whole(speed)} steps/s` : "");
    write(this.eta, running && Number.isFinite(header.eta_s) ? `ETA ${clock(header.eta_s)}` : "");
    write(this.device, [header.device, header.elsewhere && "trained elsewhere"].filter(Boolean).join(", "));
    const text = header.reads_text !== false; // a few points have no validation part and no characters
    this.numbers.val.parentNode.hidden = !text && !Number.isFinite(val);
    this.numbers.bits.parentNode.hidden = !text;
    this.numbers.tokens.parentNode.hidden = header.elsewhere === true && !(text ? header.tokens_seen : header.passes);
    write(this.numbers.tokens.previousSibling, text ? "tokens seen" : "passes over the data");
    const best = Number.isFinite(val) ? val : train;
    write(this.numbers.bits.previousSibling, `${Number.isFinite(val) ? "val" : "train"} bits/char`);
    write(this.numbers.train, numberOr(lost["train/loss"], train));
    write(this.numbers.val, numberOr(lost["val/loss"], val));
    write(this.numbers.bits, figures(best / Math.LN2 / (header.characters_per_token || 1), 3));
    write(this.numbers.tokens, again ? "–" : text ? amount(header.tokens_seen) : whole(header.passes));
    const passes = !again && Number.isFinite(header.passes);
    const hint = passes ? `${figures(header.passes, 3)} passes over the training data` : "";
    this.numbers.tokens.parentNode.title = hint;
  }
}

/** A number as people read it, or since which step it is none. */
const numberOr = (since, value) => (since === undefined ? figures(value) : `NaN since step ${whole(since)}`);

/** How far the way to `step` is made again. */
const remaking = (step, { at, trains_on: on }) =>
  `step ${whole(step)} is being made again: step ${whole(at)}${on ? ", then it trains on" : ""}`;
