// A chart of the board, drawn by Plotly: its tools, a zoom that stays until it is taken back, and when it is due.
import { element } from "../dom.js";
import { CONFIG } from "./layout.js";
import { savePicture } from "./picture.js";

/** @typedef {import("../board.js").Board} Board */
/** @typedef {import("../panels/panel.js").PanelFrame} PanelFrame */

const AXIS_RANGE = /^[xy]axis\.range/;

export class Chart {
  /** @type {any} */
  figure = null; // as Python wrote it
  dirty = true; // to be drawn again
  drawn = 0; // ms: when it was drawn last
  zoomed = false;
  listening = false;

  /**
   * @param {PanelFrame} frame
   * @param {Board} board
   */
  constructor(frame, board) {
    this.frame = frame;
    this.board = board;
    /** @type {any} */
    this.plot = frame.body.appendChild(element("div", "ls-plot"));
  }

  /** Which of several views is on show, for the name of a picture. */
  get aspect() {
    return "";
  }

  /** Is it not there yet, or under a drag, so that it has to wait? */
  get busy() {
    return !this.plot._fullLayout || this.plot._dragging;
  }

  /** The way back from a zoom, with its words; a picture; help. */
  addTools(back, hint) {
    this.followButton = this.frame.addReturn(back, hint, () => this.follow());
    this.frame.addPicture(() => savePicture(this));
    this.frame.addHelp();
  }

  /** The chart as Plotly has it, made anew. */
  async react(data, layout) {
    this.followButton.hidden = !this.zoomed;
    await this.board.Plotly.react(this.plot, data, layout, CONFIG);
    if (!this.listening) this.listen();
    this.redo();
  }

  /** Notice when somebody zooms, and when they want all of it back. */
  listen() {
    this.listening = true;
    this.plot.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => AXIS_RANGE.test(key))) return;
      this.zoomed = true;
      this.followButton.hidden = false;
      this.showZoomed();
    });
    this.plot.on("plotly_doubleclick", () => this.follow());
  }

  /** A stretch was chosen: draw it, unless there is more to do. */
  showZoomed() {
    this.redo();
  }

  /** Show all of it again, and what comes from now on. */
  follow() {
    this.zoomed = false;
    this.followButton.hidden = true;
    this.redo();
  }

  redo() {
    this.dirty = true;
    this.board.drawing.request();
  }
}
