// Words beside the lines of a chart: how long they are, and where along its line each stands clear of the curves.
import { PLAIN_FONT } from "./theme.js";

/** @typedef {{left: number, right: number, top: number, bottom: number}} Box */
/** @typedef {Box & {place: number}} Placed */

const PLACES = [1, 0.75, 0.5, 0.25, 0]; // along its line, where a label may stand
const BETTER = 0.5; // it moves to where so much less of the curves is under it

/** @type {CanvasRenderingContext2D | null} */
let brush = null;

/** At most how long a text is on the chart, px: a picture has the plain font, which is the wider one. */
export function lengthOf(text, size) {
  brush ??= document.createElement("canvas").getContext("2d");
  brush.font = `${size}px ${PLAIN_FONT}`;
  return brush.measureText(text).width + 10;
}

/**
 * Where labels stand, each on its own line, in a chart of this width; null where one would lie on another. Each stays
 * where it stood `before` until the curves run through it there; then it goes where they do so least.
 * @param {{long: number, top: number, bottom: number}[]} labels px
 * @param {number[][][]} curves points [x, y] of each, px
 * @param {number} width
 * @param {({place: number} | null)[]} before
 * @returns {(Placed | null)[]} with the share of the way along the line in `place`
 */
export function arrange(labels, curves, width, before) {
  const found = [];
  for (const [index, { long, top, bottom }] of labels.entries()) {
    const at = (place) => ({ place, left: place * (width - long), right: place * (width - long) + long, top, bottom });
    const free = PLACES.map(at).filter((box) => !found.some((other) => other && meet(box, other)));
    const cost = (box) => curves.reduce((sum, curve) => sum + covered(curve, box), 0);
    let best = free.find(({ place }) => place === before[index]?.place) ?? free[0] ?? null;
    let least = best && cost(best);
    for (const box of free) {
      if (!least) break;
      const costs = cost(box);
      if (costs < BETTER * least) [best, least] = [box, costs];
    }
    found.push(best);
  }
  return found;
}

/** A label as Plotly's annotation at its place along its line; nothing where it has none. */
export function put(note, placed, width) {
  if (!placed) return [];
  const at = placed.place;
  const x = at % 1 ? (placed.left + placed.right) / 2 / width : at;
  return [{ ...note, x, xanchor: at === 1 ? "right" : at === 0 ? "left" : "center" }];
}

const meet = (one, other) =>
  one.left < other.right && one.right > other.left && one.top < other.bottom && one.bottom > other.top;

/** How far a curve runs inside a box, px across. */
function covered(curve, { left, right, top, bottom }) {
  let sum = 0;
  for (let i = 1; i < curve.length; i++) {
    const [[x0, y0], [x1, y1]] = [curve[i - 1], curve[i]];
    if (x1 < left || x0 > right) continue;
    const [from, to] = [Math.max(left, x0), Math.min(right, x1)];
    const along = (x) => (x1 > x0 ? y0 + ((y1 - y0) * (x - x0)) / (x1 - x0) : y1);
    if (Math.max(along(from), along(to)) > top && Math.min(along(from), along(to)) < bottom) sum += to - from + 1;
  }
  return sum;
}
