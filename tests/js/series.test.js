import assert from "node:assert/strict";
import { test } from "node:test";

import { Series, average, calmHeights, clip, hasLeapt, overlay, thin } from "../../pages/board/charts/series.js";

const LIMIT = 2000;

/** A series of `count` steps whose values are `of(step)`. */
function seriesOf(count, of) {
  const series = new Series();
  for (let step = 1; step <= count; step++) series.append([0, of(step)], step);
  return series;
}

const curveOf = (values) => ({ steps: values.map((_, i) => i + 1), values });

test("a frame's steps are counted from its base, and what is here already is skipped", () => {
  const series = new Series();
  series.append([0, 1, 2, 10, 11, 12], 100);
  series.append([0, 1, 2, 99, 99, 13], 101);
  assert.deepEqual(series.steps, [100, 101, 102, 103]);
  assert.deepEqual(series.values, [10, 11, 12, 13]);
  assert.deepEqual(series.means, series.values, "each point stands for itself");
  assert.equal(series.last, 103);
});

test("means come with their points where they differ from them", () => {
  const series = new Series();
  series.append([0, 10, 5, 1], 1, [0, 10, 5, 3]);
  assert.deepEqual(series.values, [5, 1]);
  assert.deepEqual(series.means, [5, 3]);
});

test("a long run stays bounded and keeps its beginning without a hole", () => {
  const series = seriesOf(100_000, Math.sin);
  assert.ok(series.steps.length <= LIMIT);
  assert.equal(series.steps.length, series.values.length);
  assert.equal(series.steps.length, series.means.length);
  const gaps = series.steps.map((step, i) => step - (series.steps[i - 1] ?? 0));
  assert.ok(Math.max(...gaps) < 1000, `a hole of ${Math.max(...gaps)} steps`);
  assert.deepEqual(series.steps.slice(-LIMIT / 2), Array.from({ length: LIMIT / 2 }, (_, i) => 99_001 + i));
});

test("the average that is drawn is that of all steps, though peaks and valleys alone are kept", () => {
  let seed = 1;
  let sum = 0;
  const series = seriesOf(100_000, (step) => {
    seed = (seed * 16807) % 2147483647;
    const loss = 2 + (seed / 2147483647) ** 4; // more often low than high: mean 2.2
    if (step > 50_000) sum += loss;
    return loss;
  });
  const smooth = average(series.steps, series.means, 20_000);
  assert.ok(Math.abs(smooth.at(-1) - sum / 50_000) < 0.01);
});

test("an average begins at the first value, weighs by steps and leaves out what is no number", () => {
  assert.deepEqual(average([1, 2], [3, 5], 0), [3, 5], "no window, no average");
  assert.equal(average([1, 2, 3], [4, 4, 4], 10)[0], 4);
  const smooth = average([1, 2, 3], [2, NaN, 2], 5);
  assert.equal(smooth[1], null);
  assert.ok(Math.abs(smooth[2] - 2) < 1e-12, "its neighbours do not suffer");
  const [, near] = average([1, 2], [0, 1], 10);
  const [, far] = average([1, 100], [0, 1], 10);
  assert.ok(far > 0.99 && near < 0.6, "99 steps count for more than one");
});

test("an average does not lag: a straight line stays where it is", () => {
  const steps = Array.from({ length: 1000 }, (_, at) => at + 1);
  const smooth = average(steps, steps, 50);
  for (const at of [400, 500, 600]) assert.ok(Math.abs(smooth[at] - steps[at]) < 1e-3);
  assert.ok(smooth.at(-1) < 1000 && smooth.at(-1) > 950, "at the end it knows the past alone");
});

test("a curve is thinned to the lowest and the highest of each stretch, so that spikes stay", () => {
  const values = Array.from({ length: 10_000 }, (_, i) => (i === 4321 ? 100 : i === 6789 ? -100 : Math.sin(i)));
  const { steps, values: kept } = thin(curveOf(values), 500);
  assert.ok(steps.length <= 502);
  assert.ok(kept.includes(100) && kept.includes(-100));
  assert.deepEqual(steps, [...steps].sort((a, b) => a - b));
  const short = curveOf([1, 2, 3]);
  assert.deepEqual(thin(short, 500), short, "a short one stays as it is");
});

test("a number is kept rather than a NaN", () => {
  const { values } = thin(curveOf([NaN, 1, NaN, NaN, 2, NaN, NaN, 3]), 2);
  assert.ok(values.every(Number.isFinite), String(values));
});

test("detail takes the place of the stretch that it covers", () => {
  const series = { steps: [1, 5, 10, 20], values: [1, 5, 10, 20], means: [1, 5, 10, 20] };
  const detail = { steps: [5, 6, 7], values: [50, 60, 70], means: [51, 61, 71] };
  assert.deepEqual(overlay(series, detail), {
    steps: [1, 5, 6, 7, 10, 20], values: [1, 50, 60, 70, 10, 20], means: [1, 51, 61, 71, 10, 20],
  });
  assert.equal(overlay(series, undefined), series);
  assert.equal(overlay(series, { steps: [], values: [], means: [] }), series);
});

test("a clipped curve has one point beyond at either end, where there is one", () => {
  const curve = curveOf([10, 20, 30, 40, 50, 60]);
  assert.deepEqual(clip(curve, 2.5, 4.5).steps, [2, 3, 4, 5]);
  assert.deepEqual(clip(curve, 0, 100).steps, curve.steps);
});

test("a loss has leapt when it is a thousand times the first, and none is 0 or below", () => {
  assert.equal(hasLeapt([4, 3, 2]), false);
  assert.equal(hasLeapt([4, 3, 4001]), true);
  assert.equal(hasLeapt([4, 0, 4001]), false, "a logarithmic axis could not show it");
  assert.equal(hasLeapt([4, NaN, Infinity]), true);
  assert.equal(hasLeapt([]), false);
});

test("the heights of a race follow the lanes that have not leapt", () => {
  const calm = [4.3, 3.1, 2.5];
  const other = [4.3, 4.1, 4.6];
  const leapt = [4.3, 900, 1e37];
  assert.deepEqual(calmHeights([calm, other, leapt]), [2.5, 4.6]);
  assert.deepEqual(calmHeights([calm, leapt, [4.3, 1e9, Infinity, NaN]]), [2.5, 4.3]);
  assert.equal(calmHeights([calm, other]), null);
  assert.equal(calmHeights([leapt, leapt]), null);
  assert.equal(calmHeights([[], []]), null);
});
