// Numbers over steps: bounded storage, moving average, and a stretch of detail laid over the whole. No drawing.

const LIMIT = 2000;

/**
 * A scalar channel as the browser keeps it: at most LIMIT points, the newest in full. A point's mean is that of all
 * steps since the point before: the points that are kept are peaks and valleys, whose average would be another one.
 */
export class Series {
  steps = [];
  values = [];
  means = [];

  get last() {
    return this.steps.length ? this.steps[this.steps.length - 1] : -Infinity;
  }

  /**
   * Take a [2, n] array of a frame: row 0 steps minus `base`, row 1 values; `means` has means in row 1, where they are
   * others. Steps already here are skipped.
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

  /** Thin the older half to two points in four, evenly over its steps: a long run costs no more, and keeps its start. */
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

/** At most about `most` points of a curve: the lowest and the highest of each stretch, so that spikes stay. */
export function thin({ steps, values }, most) {
  if (steps.length <= most) return { steps, values };
  const kept = ends({ steps, values }, most);
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
      // Written so that a number replaces a NaN.
      if (!(values[end] >= values[low])) low = end;
      if (!(values[end] <= values[high])) high = end;
    }
    kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return kept;
}

/**
 * Moving average over about `window` steps (exponential, without the pull of its start), of points' means. It weighs
 * by steps, not by points, so thinned and full stretches smooth alike.
 */
export function average(steps, means, window) {
  if (!(window > 0)) return means;
  const out = new Array(means.length);
  let sum = 0;
  let weight = 0;
  for (let i = 0; i < means.length; i++) {
    const gap = i ? steps[i] - steps[i - 1] : 1;
    const keep = Math.exp(-gap / window);
    if (Number.isFinite(means[i])) {
      sum = keep * sum + (1 - keep) * means[i];
      weight = keep * weight + (1 - keep);
    }
    out[i] = Number.isFinite(means[i]) ? sum / weight : null;
  }
  return out;
}

/** The whole series with `detail` ({steps, values, means}) in place of the stretch that it covers. */
export function overlay(series, detail) {
  if (!detail?.steps.length) return series;
  const before = firstAfter(series.steps, detail.steps[0] - 1e-9);
  const after = firstAfter(series.steps, detail.steps[detail.steps.length - 1]);
  const join = (key) => series[key].slice(0, before).concat(detail[key], series[key].slice(after));
  return { steps: join("steps"), values: join("values"), means: join("means") };
}

/** The stretch of a curve from `from` to `to`, with one point beyond at either end. */
export function clip({ steps, values }, from, to) {
  const start = Math.max(0, firstAfter(steps, from) - 1);
  const end = firstAfter(steps, to) + 1;
  return { steps: steps.slice(start, end), values: values.slice(start, end) };
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

/** The nearest of 1, 2, 5, 10, 20 … to `number`, at least 1. */
export function roundish(number) {
  if (!(number > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  const lead = number / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

// Round numbers of a decade, and the smallest distance between two neighbours, in decades.
const LEADS = [
  [0.06, [1, 1.2, 1.4, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8]],
  [0.12, [1, 1.5, 2, 3, 4, 6]],
  [0.3, [1, 2, 5]],
  [0.47, [1, 3]],
  [0, [1]],
];

/** Round values for a logarithmic axis from 10^`low` to 10^`high` with room for about `most` labels. */
export function roundTicks(low, high, most) {
  const room = (high - low) / most;
  const values = [];
  if (high - low < 0.4) {
    const [from, to] = [10 ** low, 10 ** high];
    const rough = (to - from) / Math.min(5, most);
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((lead) => lead * unit >= rough);
    for (let n = Math.ceil(from / step); n * step <= to; n++) values.push(Number((n * step).toPrecision(4)));
    return values;
  }
  const leads = LEADS.find(([gap]) => gap > room || gap === 0)[1];
  const every = Math.max(1, Math.ceil(room));
  for (let power = Math.floor(low); power <= high; power += every) {
    for (const lead of leads) {
      const value = Number(`${lead}e${power}`);
      if (Math.log10(value) >= low && Math.log10(value) <= high) values.push(value);
    }
  }
  return values;
}
