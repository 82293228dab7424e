// Round numbers: for widths of averages and for the ticks of axes.

/** The nearest of 1, 2, 5, 10, 20 … to `number`, at least 1. */
export function roundish(number) {
  if (!(number > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  const lead = number / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

// Round numbers of a decade, and the smallest distance between two neighbours, in decades.
/** @type {[number, number[]][]} */
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

/** A tick of a logarithmic axis in words: 0.01, 300, 1e+6. */
export const tickText = (value) => String(value >= 0.01 && value < 1e5 ? value : value.toExponential());

/** Where the line through the points (xs, ys), both ascending, is at `x`; beyond its ends it goes straight on. */
export function along(xs, ys, x) {
  let at = 1;
  while (at < xs.length - 1 && xs[at] < x) at += 1;
  const slope = (ys[at] - ys[at - 1]) / (xs[at] - xs[at - 1]);
  return ys[at - 1] + slope * (x - xs[at - 1]);
}

/**
 * Ticks of an axis that counts something else than steps, such as tokens: round numbers of it, at the steps where they
 * were reached. `room` is for how many labels. Null while there is nothing to count.
 * @param {{steps: number[], values: number[]} | undefined} counted
 * @param {number[]} range of steps on screen
 * @param {number} room
 * @returns {{steps: number[], counts: number[]} | null}
 */
export function countTicks(counted, range, room) {
  if (!counted || counted.steps.length < 2) return null;
  const { steps, values } = counted;
  const [least, most] = [Math.max(0, range[0]), range[1]].map((step) => along(steps, values, step));
  if (!(most > least)) return null;
  const ticks = { steps: [], counts: [] };
  const unit = roundish((most - least) / room);
  for (let n = Math.ceil(least / unit) * unit; n <= most; n += unit) {
    ticks.counts.push(n);
    ticks.steps.push(along(values, steps, n));
  }
  return ticks;
}
