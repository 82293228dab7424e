// The frame around whatever a panel shows: title, legend, tools, the "?" and its text.
import { element, nameOf } from "../dom.js";
import { whole } from "../format.js";
import { toggle } from "./fill.js";

/**
 * A panel as Python describes it.
 * @typedef {{key: string, area: string, kind: string, title: string, help: string, figure?: any,
 *   shaded?: boolean, engine_room?: boolean}} Panel
 */

/** @type {{note: HTMLElement, button: HTMLElement} | null} */
let open = null; // the help on show

function closeHelp() {
  if (!open) return;
  open.note.hidden = true;
  open.button.setAttribute("aria-expanded", "false");
  open = null;
}

addEventListener("keydown", (event) => event.key === "Escape" && closeHelp());
addEventListener("click", (event) => open && !open.button.contains(/** @type {Node} */ (event.target)) && closeHelp());

export class PanelFrame {
  /** @param {Panel} panel */
  constructor({ key, area }) {
    this.node = element("section", "ls-panel");
    this.node.dataset.panel = key;
    this.node.dataset.area = area;
    this.title = element("h2", "ls-title");
    this.legend = element("span", "ls-legend");
    this.tools = element("span", "ls-tools");
    this.body = element("div", "ls-body");
    this.note = element("div", "ls-note", "", { hidden: true });
    this.note.setAttribute("role", "note");
    const top = element("div", "ls-top");
    top.append(this.title, this.legend, this.tools, this.note);
    this.node.append(top, this.body);
  }

  /** Title, help and an empty set of tools, for the figure of another run. */
  setPanel({ title, help }) {
    this.title.textContent = title;
    this.node.setAttribute("aria-label", title);
    this.note.textContent = help;
    this.legend.replaceChildren();
    this.tools.replaceChildren();
  }

  /** Name the step that is on show. */
  showStep(step) {
    const words = `step ${whole(step)}`;
    if (this.body.dataset.moment !== words) this.body.dataset.moment = words;
  }

  /**
   * A button with its word on it. `hint` is its tooltip; `name` is read out, with the panel's title after it, since
   * other panels have such a button too.
   */
  addButton(word, hint, onclick, place = this.tools, name = hint) {
    const button = element("button", "ls-button", word, { type: "button", title: hint, onclick });
    button.setAttribute("aria-label", `${nameOf(word, name)}: ${this.title.textContent}`);
    place.append(button);
    return button;
  }

  /** The way back from a zoom: lies on the chart while it is needed. */
  addReturn(word, hint, onclick) {
    this.back?.remove();
    this.back = this.addButton(word, hint, onclick, this.body);
    this.back.classList.add("ls-follow");
    return this.back;
  }

  addPicture(save) {
    const button = this.addButton("↓", "Save as PNG", save);
    button.classList.add("ls-round", "ls-save");
  }

  addHelp() {
    const fills = this.addButton("", "Fill the screen (f); Escape returns", () => toggle(this.node));
    fills.classList.add("ls-round", "ls-fill");
    fills.setAttribute("aria-pressed", String(this.node.classList.contains("ls-filled")));
    const button = this.addButton("?", "How to read", () => {
      const closed = this.note.hidden;
      closeHelp();
      if (!closed) return;
      this.note.hidden = false;
      button.setAttribute("aria-expanded", "true");
      open = { note: this.note, button };
    });
    button.setAttribute("aria-expanded", "false");
    button.classList.add("ls-round");
  }

  /** A legend entry: a "dash" (or another mark) of one colour, or a strip from the first colour to the last; `hint` names all. */
  addKey(name, colours, mark = "dash", hint = name) {
    const entry = element("span", "ls-key", "", { title: hint });
    const sign = element("i", `ls-${mark}`);
    sign.style.background = colours.length > 1 ? `linear-gradient(90deg, ${colours.join(",")})` : colours[0];
    entry.append(sign, element("span", "", name));
    this.legend.append(entry);
    return entry;
  }
}

const MARKS = { star: "star", x: "cross" };

/** The mark of a trace in the legend: "dash", "dot", "star" or "cross", as it is drawn. */
export function markOf({ mode, marker }) {
  if (mode !== "markers") return "dash";
  return MARKS[marker?.symbol] ?? "dot";
}
