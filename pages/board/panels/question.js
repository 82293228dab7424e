// The question that stands before the room: asked here, on phones as on the stage, and here it is told how everybody
// answered and what came out. Its text is a lesson's, answers of others are numbers: all of it only ever becomes text.
import { element, write } from "../dom.js";
import { figures, visible, whole } from "../format.js";
import { bars, curves, strip } from "./distribution.js";
import { Pad } from "./pad.js";
import { Scale } from "./scale.js";

/**
 * As the frames tell it. `asking` is another one each time that the same question is asked; `count` is for the presenter;
 * `distribution` comes when it is closed, unless it is `hidden`; `right` and `because` come with the reveal; `before` is
 * the distribution of the first vote, where this is the second; `reasons` say, by the place of a wrong option, why one may
 * have thought so.
 * @typedef {{id: string, asking: string, text: string, kind: "choice" | "number" | "curve" | "character", open: boolean,
 *   count?: number, hidden?: boolean, distribution?: any, before?: any, right?: any, because?: string, reasons?: Record<string, string>,
 *   options?: string[], low?: number, high?: number, unit?: string, log?: boolean, first?: number, last?: number,
 *   channel?: string, tokens?: string[]}} Question
 */

const KEPT = "loopscope_answer"; // in the session's storage: this tab's own answer
const NOTCHES = 1000; // of a number's slider
const SPOKEN = { " ": "space", "\n": "line end", "\t": "tab" };
const CHANGE = "You can change it until the question closes.";
let askings = 0; // panels have names of their own for what belongs together

export class QuestionPanel {
  /** @type {Question | null} */
  question = null;
  shownFor = ""; // what the panel was built for
  sending = 0; // requests so far: the newest one's answer counts

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    this.board = board;
    this.node = element("section", "ls-aside", "", { hidden: true });
    this.box = this.node.appendChild(element("div", "ls-question"));
    this.title = element("h2", "ls-asked");
    this.title.id = `ls-asked-${++askings}`;
    this.node.setAttribute("aria-labelledby", this.title.id);
    this.fold = element("button", "ls-button", "", { type: "button", onclick: () => this.toggle() });
    this.content = element("div", "ls-answers");
    this.because = element("p", "ls-because");
    this.status = element("p", "ls-reply");
    this.status.setAttribute("role", "status");
    this.counted = element("p", "ls-quiet");
    const top = element("div", "ls-question-top");
    top.append(this.title, this.fold);
    this.box.append(top, this.content, this.status, this.because, this.counted);
    this.toggle(false);
  }

  /** Put it away, so that one sees what lies under it; or take it out again. */
  toggle(folded = !this.box.classList.contains("ls-folded")) {
    this.box.classList.toggle("ls-folded", folded);
    write(this.fold, folded ? "show" : "hide");
    this.fold.setAttribute("aria-expanded", String(!folded));
    this.fold.setAttribute("aria-label", folded ? "show the question" : "hide the question");
  }

  /** @param {Question | null} question */
  show(question) {
    const another = question !== null && question.asking !== this.question?.asking;
    this.question = question;
    this.node.hidden = question === null;
    if (question === null) {
      this.shownFor = "";
      return;
    }
    const { count, ...lasting } = question;
    const key = JSON.stringify(lasting);
    if (key !== this.shownFor) this.build(question);
    this.shownFor = key;
    const answers = count === 1 ? "1 answer" : `${whole(count)} answers`;
    write(this.counted, count === undefined ? "" : question.open ? `${answers} so far` : answers);
    this.fit();
    if (!another) return;
    this.toggle(false);
    if (this.board.options?.audience) this.comeIntoView();
  }

  /** @param {Question} question */
  build(question) {
    const own = this.own;
    write(this.title, question.text);
    this.box.dataset.kind = question.kind;
    this.content.replaceChildren(...(question.open ? asked(question, own, this) : told(question, own)));
    const reason = own === question.right ? undefined : question.reasons?.[String(own)];
    write(this.because, [reason, question.because].filter(Boolean).join(" "));
    if (question.open) this.say(own === undefined ? "" : answered(question, own));
    else if (question.right !== undefined) this.say("");
    else this.say(question.distribution ? "Closed. Now it is run." : "Closed. The answers are shown later.");
  }

  say(text, wrong = false) {
    write(this.status, text);
    this.status.classList.toggle("ls-wrong", wrong);
  }

  /** This tab's own answer; undefined where there is none. */
  get own() {
    try {
      const { asking, value } = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
      return asking === this.question?.asking ? value : undefined;
    } catch {
      return undefined;
    }
  }

  /** Send an answer, and mark it when it has been taken. */
  async answer(value) {
    const { question } = this;
    const number = ++this.sending;
    this.say("Sending …");
    const refusal = await this.board.requests.answer(question.id, value);
    if (number !== this.sending || this.question?.asking !== question.asking) return;
    if (refusal) return this.say(refusal, true);
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ asking: question.asking, value }));
    } catch {
      // It counts all the same; a reload will not know it.
    }
    if (!this.question.open) return; // closed meanwhile: the answer counts, and the panel is another
    this.say(answered(question, value));
    for (const button of this.content.querySelectorAll("[data-value]")) mark(button, value);
  }

  comeIntoView() {
    requestAnimationFrame(() => this.box.scrollIntoView({ block: "nearest" }));
  }

  /** Over the stage it covers what stands beside the main chart, and no half of that. */
  fit() {
    if (this.node.hidden) return;
    const main = this.board.stage.querySelector('.ls-panel[data-area="main"]');
    this.box.style.setProperty("--ls-least", `${/** @type {HTMLElement | null} */ (main)?.offsetHeight ?? 0}px`);
  }
}

/** What was answered, in words. */
export function answered(question, value) {
  const { kind, options, unit = "" } = question;
  if (kind === "curve") return `Your curve is in. ${CHANGE}`;
  const said = { choice: () => options[value], number: () => `${figures(value, 3)} ${unit}`.trim(), character: () => spoken(value) };
  return `Your answer: ${said[kind]()}. ${CHANGE}`;
}

/** A character as one would read it out. */
export const spoken = (token) => SPOKEN[token] ?? visible(token);

function mark(button, value) {
  button.setAttribute("aria-pressed", String(JSON.parse(button.dataset.value) === value));
}

/** The controls of an open question. */
function asked(question, own, panel) {
  const send = (value) => panel.answer(value);
  if (question.kind === "choice") return choices(question.options, question.options, own, send, "ls-options");
  if (question.kind === "character") {
    const named = choices(question.tokens.map(visible), question.tokens.map(spoken), own, send, "ls-keys", question.tokens);
    return [...named];
  }
  return question.kind === "number" ? number(question, own, send) : curve(question, own, send);
}

/** Buttons, of which the one that was chosen stays pressed. */
function choices(words, names, own, send, className, values = words.map((_, at) => at)) {
  const box = element("div", className);
  box.setAttribute("role", "group");
  values.forEach((value, at) => {
    const button = element("button", "ls-option", words[at], { type: "button", onclick: () => send(value) });
    button.dataset.value = JSON.stringify(value);
    if (names[at] !== words[at]) button.setAttribute("aria-label", names[at]);
    mark(button, own);
    box.append(button);
  });
  return [box];
}

/** A slider and a field for the same number. */
function number({ low, high, unit, log, text }, own, send) {
  const scale = new Scale(low, high, log);
  const slider = element("input", "ls-slider", "", { type: "range", min: 0, max: NOTCHES, step: 1 });
  const field = element("input", "ls-number-field", "", { type: "number", min: low, max: high, step: "any" });
  slider.setAttribute("aria-label", text);
  field.setAttribute("aria-label", `${text} As a number${unit ? `, ${unit}` : ""}`);
  const speak = () => slider.setAttribute("aria-valuetext", `${field.value} ${unit}`.trim());
  const place = (value) => {
    slider.value = String(Math.round(NOTCHES * scale.share(value)));
    speak();
  };
  slider.oninput = () => {
    field.value = String(scale.rounded(Number(slider.value) / NOTCHES));
    speak();
  };
  field.oninput = () => Number.isFinite(field.valueAsNumber) && place(Math.min(high, Math.max(low, field.valueAsNumber)));
  field.value = String(own ?? scale.rounded(0.5));
  place(Number(field.value));
  const button = element("button", "ls-option ls-send", "Answer", { type: "submit" });
  const row = element("form", "ls-row", "", {
    noValidate: true, // the server's sentence says what the bounds are
    onsubmit: (event) => {
      event.preventDefault();
      send(field.value === "" ? null : Number(field.value));
    },
  });
  row.append(field, element("span", "ls-unit", unit), button);
  const ends = element("div", "ls-ends");
  ends.append(element("span", "", figures(low, 3)), element("span", "", figures(high, 3)));
  return [slider, ends, row];
}

/** The empty chart, to be drawn on. */
function curve(question, own, send) {
  const button = element("button", "ls-option ls-send", "Answer", { type: "button", disabled: true });
  const clear = element("button", "ls-option", "Clear", { type: "button" });
  const pad = new Pad(question, () => (button.disabled = pad.points.length < 2));
  if (own) pad.take(own);
  button.onclick = () => send(pad.points);
  clear.onclick = () => pad.clear();
  const row = element("div", "ls-row");
  row.append(clear, button);
  return [element("p", "ls-quiet", "Draw the curve with a finger, the mouse or the arrow keys."), pad.node, row];
}

/** How everybody answered, and what came out, as far as that is told. */
function told(question, own) {
  const { kind, options, tokens } = question;
  if (kind === "choice") return bars(question, own, options);
  if (kind === "character") return bars(question, own === undefined ? undefined : tokens.indexOf(own), tokens.map(spoken), tokens.indexOf(question.right));
  return kind === "number" ? strip(question, own) : curves(question, own);
}
