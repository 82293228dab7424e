// Lines between header and stage, each shown only while there is something to say.
import { element, write } from "../dom.js";

export class Notices {
  constructor() {
    this.node = element("div", "ls-notices");
    this.connection = this.add("ls-lost", "status");
    this.warning = this.add("ls-warning", "status");
    this.unsaved = this.add("ls-warning", "status");
    this.failure = this.add("ls-failure", "alert");
    this.message = this.failure.appendChild(element("b"));
    this.traceback = this.failure.appendChild(element("pre"));
    this.traceback.tabIndex = 0;
    this.traceback.setAttribute("aria-label", "Traceback");
  }

  add(name, role) {
    const box = element("div", `ls-notice ${name}`, "", { hidden: true });
    box.setAttribute("role", role);
    this.node.append(box);
    return box;
  }

  say(box, text) {
    write(box, text ?? "");
    box.hidden = !text;
  }

  /** `header` is that of the newest frame; `told` says that the page tells of a divergence itself. */
  show(header, told = false) {
    const bad = header.state === "failed" || (header.state === "diverged" && !told);
    const text = bad ? header.message || `The run ${header.state}.` : "";
    const twice = header.warning === text || (told && header.trouble);
    this.say(this.warning, twice ? null : header.warning);
    this.say(this.unsaved, header.unsaved);
    this.failure.hidden = !bad;
    write(this.message, text);
    const traceback = (bad && header.error) || "";
    this.traceback.hidden = !traceback;
    if (this.traceback.textContent !== traceback) {
      this.traceback.textContent = traceback;
      this.showEnd();
    }
  }

  /** The last line of a traceback says what went wrong; a box that is moved to another place forgets it. */
  showEnd() {
    this.traceback.scrollTop = this.traceback.scrollHeight;
  }
}
