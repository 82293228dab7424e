// Numbers over steps: bounded storage, moving average, thinning, and a stretch of detail laid over the whole.

/** @typedef {{steps: number[], values: number[]}} Curve */
/** @typedef {{steps: number[], values: number[], means: number[]}} Points */

const LIMIT = 2000;
const LEAP = 30; // times the first loss, a loss shows nothing else on a linear axis

/**
 * A scalar channel as the browser keeps it: at most LIMIT points, the newest in full. A point's mean is that of all
 * steps since the point before: the points that are kept are peaks and valleys, whose average would be another one.
 */
export class Series {
  /** @type {number[]} */
  steps = [];
  /** @type {number[]} */
  values = [];
  /** @type {number[]} */
  means = [];

  get last() {
    return this.steps.length ? this.steps[this.steps.length - 1] : -Infinity;
  }

  /**
   * Add a [2, n] array of a frame: row 0 steps minus `base`, row 1 values; `means` has means in row 1, where they
   * differ from the values. Steps that are here already are skipped.
   * @param {ArrayLike<number>} data
   * @param {number} base
   * @param {ArrayLike<number>} [means]
   */
  append(data, base, means = data) {
    const count = data.length / 2;
    for (let i = 0; i < count; i++) {
      const step = data[i] + base;
      if (step <= this.last) continue;
      this.steps.push(step);
      this.values.push(data[count + i]);
      this.means.push(means[count + i]);
    }
    while (this.steps.length > LIMIT) this.halve();
  }

  /** Thin the older half to two points in four, evenly over its steps: a long run costs no more and keeps its start. */
  halve() {
    const half = Math.floor(this.steps.length / 2);
    const kept = ends({ steps: this.steps.slice(0, half), values: this.values.slice(0, half) }, half / 2);
    for (let i = half; i < this.steps.length; i++) kept.push(i);
    this.means = meansOf(this, kept);
    this.steps = kept.map((i) => this.steps[i]);
    this.values = kept.map((i) => this.values[i]);
  }
}

/** For each of the places `kept` the mean over all steps since the place before it. */
function meansOf({ steps, means }, kept) {
  let i = 0;
  return kept.map((place) => {
    let sum = 0;
    let long = 0;
    for (; i <= place; i++) {
      const gap = i ? steps[i] - steps[i - 1] : 1;
      sum += gap * means[i];
      long += gap;
    }
    return sum / long;
  });
}

/**
 * At most about `most` points of a curve: the lowest and the highest of each stretch, so that spikes stay.
 * @param {Curve} curve
 * @param {number} most
 * @param {(step: number) => number} [place] of a step on the axis: stretches are equally long there
 * @returns {Curve}
 */
export function thin({ steps, values }, most, place = (step) => step) {
  if (steps.length <= most) return { steps, values };
  const kept = ends({ steps: steps.map(place), values }, most);
  if (kept[kept.length - 1] < steps.length - 1) kept.push(steps.length - 1); // all curves end at the same step
  return { steps: kept.map((i) => steps[i]), values: kept.map((i) => values[i]) };
}

/**
 * The places of the lowest and the highest of each stretch. Stretches are equally long in steps, not in points: what
 * was thinned before is no sparser for it, however often this is done.
 */
function ends({ steps, values }, most) {
  const width = (2 * (steps[steps.length - 1] - steps[0])) / most;
  const stretch = (i) => Math.floor((steps[i] - steps[0]) / width);
  const kept = [];
  for (let start = 0, end; start < steps.length; start = end) {
    let low = start;
    let high = start;
    for (end = start + 1; end < steps.length && stretch(end) === stretch(start); end++) {
      // A number replaces a NaN, and no NaN a number.
      if (values[end] < values[low] || Number.isNaN(values[low])) low = end;
      if (values[end] > values[high] || Number.isNaN(values[high])) high = end;
    }
    kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return kept;
}

/**
 * Moving average over about `window` steps of points' means, to either side alike, so that it does not lag behind the
 * curve; at the newest end, where there is nothing after, over the steps before alone. Weights fall off exponentially,
 * and count steps, not points, so thinned and full stretches smooth alike.
 */
export function average(steps, means, window) {
  if (!(window > 0)) return means;
  const reach = window / 2;
  const count = means.length;
  const gap = (i) => (i ? steps[i] - steps[i - 1] : 1);
  const sums = new Float64Array(count);
  const weights = new Float64Array(count);
  let sum = 0;
  let weight = 0;
  const keep = (steps) => {
    sum *= Math.exp(-steps / reach);
    weight *= Math.exp(-steps / reach);
  };
  const add = (i) => {
    if (!Number.isFinite(means[i])) return;
    sum += gap(i) * means[i];
    weight += gap(i);
  };
  for (let i = 0; i < count; i++) {
    keep(gap(i));
    add(i);
    sums[i] = sum;
    weights[i] = weight;
  }
  sum = weight = 0;
  for (let i = count - 1; i >= 0; i--) {
    sums[i] += sum;
    weights[i] += weight;
    add(i);
    keep(gap(i));
  }
  return Array.from(means, (mean, i) => (Number.isFinite(mean) ? sums[i] / weights[i] : null));
}

/**
 * The whole series with `detail` in place of the stretch that it covers.
 * @param {Points} series
 * @param {Points} [detail]
 * @returns {Points}
 */
export function overlay(series, detail) {
  if (!detail?.steps.length) return series;
  const before = firstAfter(series.steps, detail.steps[0] - 1e-9);
  const after = firstAfter(series.steps, detail.steps[detail.steps.length - 1]);
  const join = (key) => series[key].slice(0, before).concat(detail[key], series[key].slice(after));
  return { steps: join("steps"), values: join("values"), means: join("means") };
}

/**
 * The stretch of a curve from `from` to `to`, with one point beyond at either end.
 * @param {Curve} curve
 * @param {number} from
 * @param {number} to
 * @returns {Curve}
 */
export function clip({ steps, values }, from, to) {
  const start = Math.max(0, firstAfter(steps, from) - 1);
  const end = firstAfter(steps, to) + 1;
  return { steps: steps.slice(start, end), values: values.slice(start, end) };
}

/**
 * The points of a series up to a step, that step included.
 * @param {Points} series
 * @param {number} step
 * @returns {Points}
 */
export function upTo(series, step) {
  const end = firstAfter(series.steps, step);
  if (end === series.steps.length) return series;
  const { steps, values, means } = series;
  return { steps: steps.slice(0, end), values: values.slice(0, end), means: means.slice(0, end) };
}

/** Has a loss leapt so high that a linear axis shows nothing else, and can a logarithmic one show it? */
export function hasLeapt(values) {
  return values.some((value) => value > LEAP * values[0]) && !values.some((value) => value <= 0);
}

/**
 * The lowest and the highest of the curves that have not leapt, where others have: those would flatten them.
 * @param {number[][]} lanes values of each
 * @returns {[number, number] | null} null where all have leapt, or none
 */
export function calmHeights(lanes) {
  const known = lanes.map((values) => values.filter(Number.isFinite)).filter((values) => values.length);
  const calm = known.filter((values) => !hasLeapt(values)).flat();
  if (!calm.length || known.every((values) => !hasLeapt(values))) return null;
  return [calm.reduce((a, b) => Math.min(a, b)), calm.reduce((a, b) => Math.max(a, b))];
}

/** Index of the first of the ascending `steps` that is greater than `step`. */
function firstAfter(steps, step) {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] > step) high = middle;
    else low = middle + 1;
  }
  return low;
}
