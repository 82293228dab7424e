// How everybody answered: votes as bars on the options, numbers as dots over an axis, curves as faint lines. Where there
// was a vote before, both stand side by side.
import { element } from "../dom.js";
import { figures, whole } from "../format.js";
import { key } from "./pad.js";
import { Plot } from "./plot.js";

const MOST_ROWS = 8; // of characters, the most chosen ones
const BINS = 48; // of a strip: numbers as near as that stand on each other
const ROOM = 9; // dots on each other, at their full distance

/**
 * @param {import("./question.js").Question} question
 * @param {number | undefined} own the option's place
 * @param {string[]} words of the options
 */
export function bars({ distribution, before, right, kind }, own, words, rightAt = right) {
  const votes = [[before, "before"], [distribution, "now"]].filter(([one]) => one?.counts);
  if (!votes.length && rightAt === undefined && own === undefined && kind === "character") return [];
  const list = element("ol", "ls-bars");
  for (const at of shown(words.length, distribution?.counts, [own, rightAt], kind === "character")) {
    const row = element("li", "ls-vote");
    const line = element("div", "ls-vote-words");
    line.append(element("span", "", words[at]));
    if (at === rightAt) line.append(element("b", "ls-tag ls-right", "✓ what came"));
    if (at === own) line.append(element("b", "ls-tag", "your answer"));
    row.classList.toggle("ls-came", at === rightAt);
    row.append(line, ...votes.map(([one, when]) => bar(one.counts, at, when, votes.length > 1)));
    list.append(row);
  }
  return [list];
}

/** Which options have a row: all; of many characters those that were chosen most, and the one's own and the right one. */
export function shown(count, counts, also, few) {
  const all = Array.from({ length: count }, (_, at) => at);
  if (!few) return all;
  const most = all.filter((at) => counts?.[at]).sort((a, b) => counts[b] - counts[a]).slice(0, MOST_ROWS);
  return [...new Set([...most, ...also.filter((at) => at !== undefined && at >= 0)])];
}

function bar(counts, at, when, named) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  const share = all ? counts[at] / all : 0;
  const line = element("div", `ls-vote-line ls-${when}`);
  const track = element("span", "ls-vote-bar");
  track.append(element("i"));
  track.style.setProperty("--share", share.toFixed(4));
  const percent = `${Math.round(100 * share)} %`;
  line.append(track, element("span", "ls-vote-count", `${named ? `${when}: ` : ""}${percent}, ${whole(counts[at])}`));
  return line;
}

/**
 * @param {import("./question.js").Question} question
 * @param {number | undefined} own
 */
export function strip({ distribution, before, right, low, high, log, unit = "" }, own) {
  const said = (value) => `${figures(value, 3)} ${unit}`.trim();
  const votes = [[before, "before"], [distribution, "now"]].filter(([one]) => one?.values);
  if (!votes.length) votes.push([{ values: [], median: null }, "now"]);
  return votes.flatMap(([{ values, median }, when], at) => {
    const last = at === votes.length - 1;
    const plot = new Plot({ first: low, last: high, low: 0, high: 1, log }, { heights: false, name: unit });
    plot.dots(stacked(values, plot.x), when);
    const legend = element("p", "ls-question-legend");
    if (votes.length > 1) legend.append(element("b", "", when));
    const add = (value, kind, name) => {
      if (!Number.isFinite(value)) return;
      plot.rule(value, kind);
      legend.append(key(kind, `${name} ${said(value)}`));
    };
    add(median ?? NaN, "median", "median");
    if (last) add(own ?? NaN, "own", "yours");
    if (last) add(right ?? NaN, "came", "✓ what came:");
    return [plot.node, legend];
  });
}

/**
 * Where the dots of some numbers stand, [across, up] from 0 to 1: those close together on each other.
 * @param {number[]} values
 * @param {import("./scale.js").Scale} scale
 * @returns {[number, number][]}
 */
export function stacked(values, scale) {
  const piles = new Map();
  const placed = values.map((value) => {
    const bin = Math.round(scale.share(value) * BINS);
    const rank = piles.get(bin) ?? 0;
    piles.set(bin, rank + 1);
    return [bin / BINS, rank];
  });
  const room = Math.max(ROOM, ...piles.values());
  return placed.map(([across, rank]) => [across, (rank + 0.5) / room]);
}

/**
 * @param {import("./question.js").Question} question
 * @param {[number, number][] | undefined} own
 */
export function curves(question, own) {
  const { distribution, before, right } = question;
  const plot = new Plot(/** @type {any} */ (question));
  const legend = element("p", "ls-question-legend");
  for (const curve of distribution?.curves ?? []) plot.curve(curve, "ghost");
  if (distribution?.curves.length) legend.append(key("ghost", `${whole(distribution.curves.length)} curves`));
  const add = (curve, kind, name) => {
    if (!curve?.length) return;
    plot.curve(curve, kind);
    legend.append(key(kind, name));
  };
  add(before?.median, "before", "median before");
  add(distribution?.median, "median", "their median");
  add(own, "own", "yours");
  add(right, "came", "✓ what came");
  return [plot.node, legend];
}
