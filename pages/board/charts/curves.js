// Which points of a curve over steps are drawn: how far the axis goes, how much is averaged, thinned and cut off.
import { clip, thin } from "./series.js";
import { roundish } from "./ticks.js";

/** @typedef {import("./series.js").Curve} Curve */

export const FIRST_EDGE = 10; // steps on the axis of a run that has just begun
/** The notches of the smoothing slider: the share of the steps on screen that the moving average covers. */
export const SMOOTHING = [0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05];
const LEAST_WINDOW = 5;
// Points handed to Plotly: of one curve about what the width can show, of many fewer each; more where zoomed.
const DRAWN = 1000;
const DRAWN_TOGETHER = 3000;
const DRAWN_ZOOMED = 2400;
const FAR = 1.15; // times the highest point of this run, the run before it is cut off: it may have diverged

/** The right end of the axis of a run at `step` of `most` (0: no end). It moves in leaps, so that ticks stand still. */
export function nextEdge(edge, step, most) {
  if (step <= edge) return edge;
  const leap = Math.max(FIRST_EDGE, step * 1.3);
  return step <= most && most < leap * 1.1 ? most : Number(leap.toPrecision(2));
}

/** Steps that the moving average covers where the axis shows `span` of them; 0 is no smoothing. */
export function smoothingWindow(notch, span) {
  const share = SMOOTHING[notch];
  return share ? Math.max(LEAST_WINDOW, roundish(share * span)) : 0;
}

/** At most how many points of each of `count` curves are drawn. */
export const mostPoints = (count, zoomed) => (zoomed ? DRAWN_ZOOMED : Math.min(DRAWN, DRAWN_TOGETHER / count));

/**
 * The part of a curve that is drawn where the axis shows `range`; a zoomed one reaches beyond it, to be dragged along.
 * @param {Curve} curve
 * @param {number[]} range
 * @param {number} most points
 * @param {boolean} zoomed
 * @param {(step: number) => number} [place] of a step on the axis
 */
export function drawnPart(curve, range, most, zoomed, place) {
  const margin = zoomed ? range[1] - range[0] : 0;
  return thin(clip(curve, range[0] - margin, range[1] + margin), most, place);
}

/**
 * The run before without what is far above the highest point of this one; where it leaves, it goes up to there.
 * @param {Curve} curve
 * @param {number} highest
 * @returns {Curve}
 */
export function below({ steps, values }, highest) {
  const most = FAR * highest;
  const kept = Array.from(values.keys()).filter((at) => !(values[at] > most && values[at - 1] > most));
  return { steps: kept.map((at) => steps[at]), values: kept.map((at) => Math.min(values[at], most)) };
}

/** The highest value of some lists of values; Infinity where none is above 0. */
export function highest(lists) {
  let most = -Infinity;
  for (const values of lists) for (const value of values) if (value > most) most = value;
  return most > 0 ? most : Infinity;
}

/**
 * The lowest point of a curve, alone; of equal ones the first.
 * @param {Curve} curve
 * @returns {Curve}
 */
export function lowest({ steps, values }) {
  let at = -1;
  values.forEach((value, index) => {
    if (Number.isFinite(value) && !(value >= values[at])) at = index;
  });
  return at < 0 ? { steps: [], values: [] } : { steps: [steps[at]], values: [values[at]] };
}
