// What is marked on a chart over steps: which events and notes are worth a line, and where their words stand.
import { literal } from "../format.js";

/** @typedef {import("../client/run_data.js").Event} Event */
/** @typedef {{step: number, text: string, colour: string, dash: string}} Mark */
/** @typedef {import("./labels.js").Box} Box */

const MOST_MARKS = 60;
const MOST_EPOCHS = 12; // with more of them their ends are not marked
const LABEL_ROWS = 3;
const LONGEST_LABEL = 30; // characters
const OTHERS = " +99"; // after a label: so many marks beside it have no room for words of their own
const PAUSES = new Set(["paused", "resumed"]);

/**
 * The events without what says nothing new: of steps made one by one the last pause stands for all, and "resumed" is
 * left out where something else happened at the same step. Those of knobs and the like come after pauses.
 * @param {Event[]} events
 */
export function worthALine(events) {
  const pauses = events.filter(({ name }) => PAUSES.has(name));
  const others = events.filter(({ name }) => !PAUSES.has(name));
  const marked = new Set(events.filter(({ name }) => name !== "resumed").map(({ step }) => step));
  const kept = pauses.filter(({ name, step }, at) =>
    name === "paused" ? pauses[at + 1]?.name !== "paused" : !marked.has(step),
  );
  return [...kept, ...others];
}

/**
 * The marks of a run, the most important last: pauses, knobs, notes.
 * @param {Event[]} events
 * @param {{step: number, text: string}[]} notes
 * @param {Record<string, string>} theme
 * @returns {Mark[]}
 */
export function marksOf(events, notes, theme) {
  const epochs = events.filter(({ name }) => name === "epoch").length;
  const shown = events.filter(({ name }) => name !== "epoch" || epochs <= MOST_EPOCHS);
  const lines = worthALine(shown).slice(-MOST_MARKS);
  const pinned = notes.slice(-MOST_MARKS);
  return [
    ...lines.map(({ step, text }) => ({ step, text, colour: theme.event, dash: "dot" })),
    ...pinned.map(({ step, text }) => ({ step, text: `★ ${text}`, colour: theme.text, dash: "dash" })),
  ];
}

/**
 * Plotly's shapes for the marks, one line a step, and for the earlier moment that is on show.
 * @param {Mark[]} marks
 * @param {number | undefined} past
 * @param {Record<string, string>} theme
 */
export function linesOf(marks, past, theme) {
  const line = (step, style) => ({
    type: "line", xref: "x", yref: "paper", x0: step, x1: step, y0: 0, y1: 1, ...style,
  });
  const lines = [...new Map(marks.map((mark) => [mark.step, mark]))].map(([step, { colour, dash }]) =>
    line(step, { layer: "below", line: { color: colour, width: 1.5, dash } }),
  );
  if (past !== undefined) lines.push(line(past, { line: { color: theme.text, width: 2 } }));
  return lines;
}

/**
 * The rows of labels at the top of a chart: which stretches of each, [from, to] in px, other words take already.
 * @param {(Box | null)[]} boxes
 * @param {number} height of a row, px
 * @returns {[number, number][][]}
 */
export function takenRows(boxes, height) {
  const rows = Array.from({ length: LABEL_ROWS }, () => []);
  for (const { left, right, top, bottom } of boxes.filter(Boolean)) {
    rows.forEach((spans, row) => bottom > row * height && top < (row + 1) * height && spans.push([left, right]));
  }
  return rows;
}

/**
 * The words of marks, the newest of the most important first: each in the first of the rows where it touches no other.
 * Where there is no room, as for many events of a long run's beginning, the label nearest by counts it (" +2") and tells
 * it under the pointer. `taken` are those rows, which fill up; `lengthOf` says how long words are, px.
 * @param {Mark[]} marks
 * @param {{range: number[], width: number, size: number, taken: [number, number][][],
 *   lengthOf: (text: string, size: number) => number}} room
 */
export function labelsOf(marks, { range, width, size, taken, lengthOf }) {
  const placeOf = (step) => ((step - range[0]) / (range[1] - range[0])) * width;
  const shown = [...marks].reverse().filter(({ step }) => placeOf(step) >= 0 && placeOf(step) <= width);
  const crowded = shown.length > LABEL_ROWS ? lengthOf(OTHERS, size) : 0;
  const labels = [];
  for (const { step, text, colour } of shown) {
    const at = placeOf(step);
    const words = Array.from(text.replace(/\s+/g, " "));
    const most = Math.min(LONGEST_LABEL, Math.floor((Math.max(at, width - at) - crowded - 10) / (size * 0.56)));
    const short = words.length > most ? `${words.slice(0, most - 1).join("")}…` : words.join("");
    const length = lengthOf(short, size) + crowded;
    const left = at + length > width ? at - length : at;
    const row = taken.findIndex((spans) => spans.every(([from, to]) => left > to || left + length < from));
    if (row >= 0) {
      taken[row].push([left, left + length]);
      labels.push({ at, step, row, colour, short, told: [text], cut: words.length > most, anchor: left < at ? "right" : "left" });
    } else if (labels.length) {
      const near = labels.reduce((one, other) => (Math.abs(other.at - at) < Math.abs(one.at - at) ? other : one));
      near.told.push(text);
    }
  }
  return labels.map(({ step, row, colour, short, told, cut, anchor }) => ({
    step, row, colour, anchor, text: literal(told.length > 1 ? `${short} +${told.length - 1}` : short),
    whole: cut || told.length > 1 ? told.map(literal).join("<br>") : null,
  }));
}

/**
 * The curves that people drew for one of a chart's channels, as Plotly's shapes behind the real one: all of them faint,
 * and their median. None while the question is open, or is of another kind.
 * @param {import("../panels/question.js").Question | null} question
 * @param {Set<string>} channels of the chart
 * @param {{log: boolean, logSteps: boolean}} axes
 * @param {Record<string, string>} theme
 */
export function predictedLines(question, channels, { log, logSteps }, theme) {
  if (question?.kind !== "curve" || question.open || !channels.has(question.channel)) return [];
  const { curves = [], median = [] } = question.distribution ?? {};
  const line = (points, style) => {
    const shown = points.filter(([step, value]) => (!logSteps || step > 0) && (!log || value > 0));
    if (shown.length < 2) return [];
    const path = `M${shown.map((point) => point.join(",")).join("L")}`;
    return [{ type: "path", xref: "x", yref: "y", path, layer: "below", ...style }];
  };
  const ghosts = curves.flatMap((curve) => line(curve, { opacity: 0.35, line: { color: theme.baseline, width: 1.5 } }));
  return [...ghosts, ...line(median, { line: { color: theme.event, width: 2.5, dash: "dash" } })];
}
