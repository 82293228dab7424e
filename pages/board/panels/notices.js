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

  /** `header` is that of the newest frame. */
  show(header) {
    const bad = header.state === "failed" || header.state === "diverged";
    const text = bad ? header.message || `The run ${header.state}.` : "";
    this.say(this.warning, header.warning === text ? null : header.warning); // nothing is said twice
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
