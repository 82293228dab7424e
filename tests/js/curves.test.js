import assert from "node:assert/strict";
import { test } from "node:test";

import {
  FIRST_EDGE, SMOOTHING, below, drawnPart, highest, lowest, mostPoints, nextEdge, smoothingWindow,
} from "../../pages/board/charts/curves.js";

const curveOf = (values) => ({ steps: values.map((_, i) => i + 1), values });

test("the axis ends a leap beyond the run, and stands still until the run gets there", () => {
  assert.equal(nextEdge(FIRST_EDGE, 0, 5000), FIRST_EDGE);
  assert.equal(nextEdge(FIRST_EDGE, 10, 5000), FIRST_EDGE);
  assert.equal(nextEdge(FIRST_EDGE, 11, 5000), 14);
  assert.equal(nextEdge(1300, 1200, 5000), 1300);
  let edge = FIRST_EDGE;
  const edges = new Set();
  for (let step = 0; step <= 100_000; step++) {
    edge = nextEdge(edge, step, 0);
    assert.ok(edge >= step);
    edges.add(edge);
  }
  assert.ok(edges.size < 45, `${edges.size} leaps`);
});

test("near its end a run gets the axis that ends there", () => {
  assert.equal(nextEdge(3000, 4000, 5000), 5000);
  assert.equal(nextEdge(3000, 3001, 50_000), 3900);
  assert.equal(nextEdge(5000, 5001, 5000), 6500, "it was cut to fewer than it had made");
});

test("smoothing covers a share of the steps on screen, in round numbers", () => {
  assert.equal(smoothingWindow(0, 1_000_000), 0, "off");
  assert.equal(smoothingWindow(4, 10_000), 100);
  assert.equal(smoothingWindow(4, 12), 5, "at least that many");
  const widths = SMOOTHING.map((_, notch) => smoothingWindow(notch, 100_000));
  assert.deepEqual(widths, [0, 100, 200, 500, 1000, 2000, 5000]);
});

test("many curves have fewer points each, a zoomed one has more", () => {
  assert.equal(mostPoints(1, false), 1000);
  assert.equal(mostPoints(6, false), 500);
  assert.ok(mostPoints(6, true) > 1000);
});

test("a zoomed curve reaches beyond the screen, to be dragged along", () => {
  const curve = curveOf(Array.from({ length: 100 }, (_, i) => i));
  assert.deepEqual(drawnPart(curve, [39.5, 50.5], 1000, false).steps.at(0), 39);
  assert.deepEqual(drawnPart(curve, [39.5, 50.5], 1000, false).steps.at(-1), 51);
  assert.deepEqual(drawnPart(curve, [39.5, 50.5], 1000, true).steps.at(0), 28);
  assert.deepEqual(drawnPart(curve, [39.5, 50.5], 1000, true).steps.at(-1), 62);
  assert.ok(drawnPart(curve, [0, 100], 10, false).steps.length <= 12);
});

test("the run before is cut off above this one, where it goes up to the edge", () => {
  const { steps, values } = below(curveOf([4, 3, 900, 1e6, 1e7, 2]), 4);
  assert.deepEqual(steps, [1, 2, 3, 6]);
  assert.deepEqual(values, [4, 3, 4 * 1.15, 2]);
  const whole = curveOf([4, 3, 2]);
  assert.deepEqual(below(whole, Infinity), whole);
});

test("the highest of this run's own curves, and no limit where there is none", () => {
  assert.equal(highest([[1, 5, 2], [3]]), 5);
  assert.equal(highest([[1, NaN, 2]]), 2);
  assert.equal(highest([[], []]), Infinity);
  assert.equal(highest([[-1, 0]]), Infinity);
});

test("the lowest point stands alone, the first of equal ones", () => {
  assert.deepEqual(lowest(curveOf([3, 1, 2, 1])), { steps: [2], values: [1] });
  assert.deepEqual(lowest(curveOf([NaN, 2, -Infinity])), { steps: [2], values: [2] });
  assert.deepEqual(lowest(curveOf([NaN])), { steps: [], values: [] });
});
