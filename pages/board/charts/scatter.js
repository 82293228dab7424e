// Tokens as points of a plane: each row of a table (V, 2) is where one token's name stands. The axes hold still until
// the points leave them, or huddle in their middle; a zoom stays. The figure comes from Python. Knows no socket.
import { savePicture } from "./picture.js";
import { CONFIG, dressed } from "./steps.js";
import { repaint } from "./theme.js";
import { element } from "../dom.js";
import { literal, visible } from "../format.js";

const ROOM = 1.25; // of the farthest point
const HUDDLED = 0.5; // of the view that is held

export class ScatterChart {
  /** `stage` is the board: its Plotly, tables, tokens and theme. */
  constructor(frame, stage) {
    Object.assign(this, { frame, stage, dirty: true, drawn: 0, listening: false });
    this.plot = frame.body.appendChild(element("div", "ls-plot"));
  }

  dress(panel) {
    this.figure = panel.figure;
    this.fed = this.figure.data.map(({ meta }) => meta);
    this.channel = this.fed[0]?.channel;
    this.reach = 0;
    this.zoomed = false;
    this.frame.dress(panel);
    this.followButton = this.frame.addReturn("all tokens", "Show all tokens again", () => this.follow());
    this.frame.addPicture(() => savePicture(this));
    this.frame.addHelp();
    return this.build();
  }

  /** Draw the figure anew in the page's colours and type; with `keep` the zoomed view stays. */
  async build(keep = false) {
    const { Plotly, theme, scale, tokens } = this.stage;
    const { data, layout } = repaint(this.figure, theme.name);
    const full = keep && this.zoomed ? this.plot._fullLayout : null;
    const base = dressed(layout, theme, scale);
    for (const name of ["xaxis", "yaxis"]) {
      base[name].range = full ? full[name].range.slice() : this.reach ? [-this.reach, this.reach] : [-1, 1];
    }
    this.frame.legend.replaceChildren();
    for (const trace of data) {
      const names = trace.meta.rows.map((row) => literal(visible(tokens[row] ?? String(row))));
      Object.assign(trace, { x: [], y: [], text: names, hovertemplate: `%{text}, ${literal(trace.name)}<extra></extra>` });
      trace.textfont.size *= scale;
      trace.marker.size *= scale;
      this.frame.addKey(trace.name, [trace.textfont.color], "dot");
    }
    this.followButton.hidden = !this.zoomed;
    await Plotly.react(this.plot, data, base, CONFIG);
    if (!this.listening) this.listen();
    this.dirty = true;
    this.stage.schedule();
  }

  listen() {
    this.listening = true;
    this.plot.on("plotly_relayout", (change) => {
      if (this.moving || !Object.keys(change).some((key) => /^[xy]axis\.range/.test(key))) return;
      this.zoomed = true;
      this.followButton.hidden = false;
    });
    this.plot.on("plotly_doubleclick", () => this.follow());
  }

  follow() {
    this.zoomed = false;
    this.followButton.hidden = true;
    this.reach = 0;
    this.dirty = true;
    this.stage.schedule();
  }

  feeds(name) {
    return name === this.channel;
  }

  clear() {
    this.reach = 0;
  }

  render() {
    if (!this.plot._fullLayout || this.plot._dragging) return false;
    this.dirty = false;
    const table = this.stage.tables.get(this.channel);
    if (!table) return true;
    const [x, y] = [0, 1].map((side) => this.fed.map(({ rows }) => rows.map((row) => table.data[2 * row + side])));
    const change = { ...(this.zoomed ? {} : this.hold(table.data)), ...this.titles() };
    this.moving = true;
    this.stage.Plotly.update(this.plot, { x, y }, change, this.fed.map((_, index) => index));
    this.moving = false;
    return true;
  }

  /** The axes' names with the newest share of the variance along each. */
  titles() {
    const change = {};
    this.figure.layout.meta.shares.forEach((channel, side) => {
      const name = ["xaxis", "yaxis"][side];
      const share = this.stage.series.get(channel)?.values.at(-1);
      if (share === undefined) return;
      const title = `${this.figure.layout[name].title.text}, ${(100 * share).toFixed(1)} % of the variance`;
      if (this.plot._fullLayout[name].title.text !== title) change[`${name}.title.text`] = title;
    });
    return change;
  }

  /** The view as it is held, or a new one where the points have left it or fill little of it. */
  hold(points) {
    let farthest = 0;
    for (const value of points) farthest = Math.max(farthest, Math.abs(value));
    if (farthest <= this.reach && farthest >= this.reach * HUDDLED) return {};
    this.reach = Number((farthest * ROOM).toPrecision(2)) || 1;
    return { "xaxis.range": [-this.reach, this.reach], "yaxis.range": [-this.reach, this.reach] };
  }
}
