// Tokens as points of a plane: each row of a table (V, 2) is where one token's name stands. The axes hold still until
// the points leave them, or huddle in their middle; a zoom stays. The figure comes from Python.
import { literal, visible } from "../format.js";
import { Chart } from "./chart.js";
import { themed } from "./layout.js";
import { repaint } from "./theme.js";

const ROOM = 1.25; // of the farthest point
const HUDDLED = 0.5; // of the view that is held

export class ScatterChart extends Chart {
  reach = 0; // from the middle to the edge of the view; 0 before there is one

  setPanel(panel) {
    this.figure = panel.figure;
    this.fed = this.figure.data.map(({ meta }) => meta);
    this.channel = this.fed[0]?.channel;
    this.reach = 0;
    this.zoomed = false;
    this.frame.setPanel(panel);
    this.addTools("all tokens", "Show all tokens again");
    return this.build();
  }

  /** Draw the figure anew in the page's colours and type; with `keep` the zoomed view stays. */
  async build(keep = false) {
    const { theme, scale } = this.board;
    const { tokens } = this.board.panels;
    const { data, layout } = repaint(this.figure, theme.name);
    const full = keep && this.zoomed ? this.plot._fullLayout : null;
    const base = themed(layout, theme, scale);
    for (const name of ["xaxis", "yaxis"]) {
      base[name].range = full ? full[name].range.slice() : this.reach ? [-this.reach, this.reach] : [-1, 1];
    }
    this.frame.legend.replaceChildren();
    const { x, y } = this.places();
    data.forEach((trace, at) => {
      const names = trace.meta.rows.map((row) => literal(visible(tokens[row] ?? String(row))));
      const hovertemplate = `%{text}, ${literal(trace.name)}<extra></extra>`;
      Object.assign(trace, { x: x[at], y: y[at], text: names, hovertemplate });
      trace.textfont.size *= scale;
      trace.marker.size *= scale;
      this.frame.addKey(trace.name, [trace.textfont.color], "dot");
    });
    await this.react(data, base);
  }

  follow() {
    this.reach = 0;
    super.follow();
  }

  clear() {
    this.reach = 0;
  }

  /** Where the points of each trace lie; nowhere before they have come. */
  places() {
    const table = this.board.tables.get(this.channel);
    const side = (at) => this.fed.map(({ rows }) => (table ? rows.map((row) => table.data[2 * row + at]) : []));
    return { x: side(0), y: side(1) };
  }

  render() {
    if (this.busy) return false;
    this.dirty = false;
    const table = this.board.tables.get(this.channel);
    if (!table) return true;
    const { x, y } = this.places();
    const change = { ...(this.zoomed ? {} : this.hold(table.data)), ...this.titles() };
    this.board.Plotly.update(this.plot, { x, y }, change, this.fed.map((_, index) => index));
    this.frame.showStep(this.board.tablesStep);
    return true;
  }

  /** The axes' names with the newest share of the variance along each. */
  titles() {
    const change = {};
    this.figure.layout.meta.shares.forEach((channel, side) => {
      const name = ["xaxis", "yaxis"][side];
      const share = this.board.data.curve(channel)?.values.at(-1);
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
