// Samples of text, newest on top: each character shaded by how likely it was when drawn. Text nodes only.
import { element } from "../dom.js";
import { visible, whole } from "../format.js";

const MOST = 40;
const STRONGEST = 0.62;

export class Samples {
  past = null; // the earlier moment on show
  empty = true; // no sample stands in the list
  stale = true; // the list is that of another run, or of before a gap
  /** @type {HTMLElement | null} */
  pastSample = null; // in place of the list

  /** @param {import("./panel.js").PanelFrame} frame */
  constructor(frame) {
    this.frame = frame;
    this.list = frame.body.appendChild(element("div", "ls-samples"));
    this.list.tabIndex = 0;
    this.list.setAttribute("aria-live", "off");
  }

  setPanel(panel) {
    this.frame.setPanel(panel);
    this.list.setAttribute("aria-label", panel.title);
    if (panel.shaded !== false) this.addRamp();
    this.frame.addHelp();
    this.clear();
  }

  addRamp() {
    const key = element("span", "ls-key", "", { title: "Shade: the probability of a character when it was drawn" });
    key.append(element("span", "", "unlikely"), element("i", "ls-ramp"), element("span", "", "likely"));
    this.frame.legend.append(key);
  }

  /** What comes next replaces all that is there. */
  clear() {
    this.stale = true;
  }

  /** Show the sample of an earlier moment alone; null brings the newest ones back. */
  showPast(past) {
    const known = this.pastSample && past && past.sample?.step === this.past?.sample?.step;
    this.past = past;
    if (known) return; // one sample stands for many moments, and a drag passes through them fast
    this.pastSample?.remove();
    this.pastSample = null;
    this.list.hidden = past !== null;
    if (past === null) return;
    this.pastSample = element("div", "ls-samples");
    const none = "No sample was taken before that step.";
    this.pastSample.append(past.sample ? card(past.sample) : element("p", "ls-quiet", none));
    this.frame.body.append(this.pastSample);
  }

  add(samples) {
    if (this.stale) this.list.replaceChildren(element("p", "ls-quiet", "The first sample is on its way."));
    this.empty ||= this.stale;
    this.stale = false;
    if (!samples.length) return;
    if (this.empty) this.list.replaceChildren();
    this.empty = false;
    // Somebody who has scrolled down to read keeps the line under their eyes.
    const reading = this.list.scrollTop > 4;
    const before = this.list.scrollHeight;
    this.list.prepend(...samples.slice(-MOST).map(card).reverse());
    while (this.list.children.length > MOST) this.list.lastChild.remove();
    if (reading) this.list.scrollTop += this.list.scrollHeight - before;
  }
}

export function card(sample) {
  const box = element("article", "ls-sample");
  box.append(element("div", "ls-when", `step ${whole(sample.step)}`), shaded(sample));
  return box;
}

/** One span for each run of characters with the same confidence. */
function shaded({ text, confidence = "", prompt = 0 }) {
  const box = element("div", "ls-text");
  const characters = Array.from(text);
  let start = 0;
  for (let at = 1; at <= characters.length; at++) {
    const same = confidence[at] === confidence[start] && at < prompt === start < prompt;
    if (at < characters.length && same) continue;
    const piece = characters.slice(start, at).join("");
    const given = start < prompt;
    const span = element("span", given ? "ls-prompt" : "", given ? visible(piece) : piece);
    const digit = Number.parseInt(confidence[start], 10);
    if (!given && digit > 0) span.style.setProperty("--shade", ((digit / 9) * STRONGEST).toFixed(3));
    if (!given && digit >= 0) span.title = `${digit * 10} to ${digit * 10 + 10} % likely`;
    box.append(span);
    start = at;
  }
  return box;
}
