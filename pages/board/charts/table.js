// A table of numbers as a heatmap: several views of it, limits that are held still, tokens on the axes.
import { element } from "../dom.js";
import { literal, visible } from "../format.js";
import { Chart } from "./chart.js";
import { FIGURE_FONT, themed } from "./layout.js";
import { colourScale, repaint } from "./theme.js";

// A signed scale ends where all but the most extreme values lie, and moves when the data leaves it by far.
const COVERED = 0.995;
const OUTGROWN = 1.3;
const SHRUNKEN = 0.35;
const LONGEST = 7; // characters of a token on an axis

export class TableChart extends Chart {
  views = [];
  view = 0; // the place of the one on show
  ticks = { x: "", y: "" }; // which stand on the axes

  setPanel(panel) {
    this.figure = panel.figure;
    this.views = this.figure.data[0].meta.views;
    this.view = Math.min(this.view, this.views.length - 1);
    this.limits = new Map();
    this.zoomed = false;
    this.frame.setPanel(panel);
    const group = element("span", "ls-choice");
    group.setAttribute("role", "group");
    this.buttons = this.views.map(({ name }, index) =>
      this.frame.addButton(name, `Show ${name}`, () => this.choose(index), group),
    );
    this.frame.legend.append(group);
    this.addTools("whole table", "Show the whole table again");
    return this.build();
  }

  /** Which of its views is on show, for the name of a picture. */
  get aspect() {
    return this.views[this.view].name;
  }

  choose(index) {
    this.view = index;
    this.build(true);
  }

  async build(keep = false) {
    const { theme, scale } = this.board;
    const { data, layout } = repaint(this.figure, theme.name);
    const view = this.views[this.view];
    const full = keep && this.zoomed ? this.plot._fullLayout : null;
    const ranges = full && [full.xaxis.range.slice(), full.yaxis.range.slice()];
    const size = FIGURE_FONT * scale;
    Object.assign(data[0], {
      ...this.cells(view), colorscale: colourScale(view.scale, theme.name), showscale: true,
      colorbar: {
        thickness: 10 * scale, outlinewidth: 0, tickfont: { size, color: theme.baseline }, nticks: 5, xpad: 6, ypad: 0,
        title: { text: literal(view.bar ?? view.name), side: "right", font: { size, color: theme.baseline } },
        exponentformat: "power", ...(view.scale === "probability" && { tickvals: [0, 0.25, 0.5, 0.75, 1] }),
      },
    });
    const base = themed(layout, theme, scale);
    for (const axis of [base.xaxis, base.yaxis]) Object.assign(axis, { showline: false, ticks: "" });
    if (ranges) [base.xaxis.range, base.yaxis.range] = ranges;
    if (ranges) base.yaxis.autorange = base.xaxis.autorange = false;
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === this.view)));
    this.labelled = null;
    await this.react(data, base);
  }

  follow() {
    this.zoomed = false;
    this.build();
  }

  render() {
    if (this.busy) return false;
    const view = this.views[this.view];
    const table = this.table(view);
    this.dirty = false;
    if (!table) return true;
    const [rows, columns] = table.shape;
    const { z, zmin, zmax } = this.cells(view);
    const data = { z: [z], zmin: [zmin], zmax: [zmax] };
    const layout = this.tickLabels(rows, columns);
    const key = `${view.name} ${rows}×${columns}`;
    if (this.labelled !== key) {
      this.labelled = key;
      Object.assign(data, this.hover(view, rows, columns));
    }
    this.board.Plotly.update(this.plot, data, layout, [0]);
    this.frame.showStep(this.board.tablesStep);
    return true;
  }

  /** The numbers of a view in rows, and the ends of its scale; no rows before there are any. */
  cells(view) {
    const table = this.table(view);
    if (!table) return { z: [[]] };
    const [rows, columns] = table.shape;
    const z = Array.from({ length: rows }, (_, row) => {
      const numbers = table.data.subarray(row * columns, (row + 1) * columns);
      return view.rows === "softmax" ? softmax(numbers) : numbers;
    });
    const signed = view.scale === "signed";
    const zmax = signed ? this.hold(this.limited(view), table.data) : 1;
    return { z, zmin: signed ? -zmax : 0, zmax };
  }

  /** What a view shows, as it has arrived. */
  table(view) {
    return this.board.tables.get(view.channel);
  }

  /** Views of one name here share the ends of their scale. */
  limited(view) {
    return view.channel;
  }

  /** The scale's end for a name: kept until the data outgrows it or shrinks far below it. */
  hold(name, data) {
    const sizes = Float32Array.from(data, Math.abs).filter(Number.isFinite).sort();
    const far = sizes[Math.floor(COVERED * (sizes.length - 1))] || sizes.at(-1) || 1;
    const held = this.limits.get(name);
    if (held && far <= held * OUTGROWN && far >= held * SHRUNKEN) return held;
    const limit = Number((far * 1.1).toPrecision(2));
    this.limits.set(name, limit);
    return limit;
  }

  /** Names of `count` rows or columns: the tokens, or the first of each group where the table is pooled. */
  names(count) {
    const pooled = this.board.panels.vocabSize > count;
    const tokens = pooled ? this.board.panels.firsts : this.board.panels.tokens;
    return Array.from({ length: count }, (_, index) => {
      const token = tokens[index];
      return token === undefined ? String(index) : literal(short(visible(token), pooled));
    });
  }

  tickLabels(rows, columns) {
    const axes = this.figure.layout.meta?.tokens ?? "";
    const change = {};
    for (const [letter, count] of [["x", columns], ["y", rows]]) {
      if (!axes.includes(letter)) continue;
      const axis = this.plot._fullLayout[`${letter}axis`];
      const [from, to] = this.zoomed ? axis.range.toSorted((a, b) => a - b) : [-0.5, count - 0.5];
      const room = (FIGURE_FONT * this.board.scale * 1.15) / (axis._length / (to - from));
      const every = Math.max(1, Math.ceil(room));
      const at = [];
      for (let index = 0; index < count; index += every) at.push(index);
      const key = `${every} ${count}`;
      if (axis.tickvals?.length === at.length && this.ticks[letter] === key) continue;
      this.ticks[letter] = key;
      const names = this.names(count);
      change[`${letter}axis.tickmode`] = "array";
      change[`${letter}axis.tickvals`] = at;
      change[`${letter}axis.ticktext`] = at.map((index) => names[index]);
    }
    return change;
  }

  hover(view, rows, columns) {
    const axes = this.figure.layout.meta?.tokens ?? "";
    const side = this.names(rows);
    const above = axes.includes("x") ? this.names(columns) : null;
    const words = side.map((row) =>
      Array.from({ length: columns }, (_, at) => (above ? `${row} then ${above[at]}` : `${row}, dimension ${at}`)),
    );
    return { customdata: [words], hovertemplate: [`%{customdata}<br>${literal(view.name)} %{z:.4~g}<extra></extra>`] };
  }
}

/** A name cut to LONGEST characters, "…" after it where it is cut or stands for others too. */
function short(name, more) {
  const characters = Array.from(name);
  return characters.slice(0, LONGEST).join("") + (more || characters.length > LONGEST ? "…" : "");
}

function softmax(scores) {
  let highest = -Infinity;
  for (const score of scores) highest = Math.max(highest, score);
  const out = Float32Array.from(scores, (score) => Math.exp(score - highest));
  const sum = out.reduce((total, one) => total + one, 0);
  return out.map((one) => one / sum);
}
