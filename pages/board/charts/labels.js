// Words on a chart over steps: which events are worth a line, and where labels stand. Knows no chart.
import { PLAIN_FONT } from "./theme.js";

const PLACES = [1, 0.75, 0.5, 0.25, 0]; // along its line, where a label may stand
const BETTER = 0.5; // it moves to where so much less of the curves is under it
const PAUSES = new Set(["paused", "resumed"]);
const brush = document.createElement("canvas").getContext("2d");

/** At most how long a text is on the chart, px: a picture has the plain font, which is the wider one. */
export function lengthOf(text, size) {
  brush.font = `${size}px ${PLAIN_FONT}`;
  return brush.measureText(text).width + 10;
}

/**
 * The events without what says nothing new: of steps made one by one the last pause stands for all, and "resumed" is
 * left out where something else happened at the same step. Those of knobs and the like come after pauses.
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
 * Where labels stand, each on its own line ({long, top, bottom}, px) in a chart of this width: {place, left, right,
 * top, bottom} with the share of the way in `place`, or null where it would lie on another. Each stays where it stood
 * `before` until the curves, [[x, y], …] each, run through it there; then it goes where they do so least.
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
