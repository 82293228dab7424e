import assert from "node:assert/strict";
import { test } from "node:test";

import { along, countTicks, roundTicks, roundish, tickText } from "../../pages/board/charts/ticks.js";

test("the nearest of 1, 2, 5, 10, 20 …", () => {
  const numbers = [-3, 0, 0.2, 1, 1.4, 1.6, 3.4, 3.6, 7, 8, 14, 16, 40, 1234];
  assert.deepEqual(numbers.map(roundish), [1, 1, 1, 1, 1, 2, 2, 5, 5, 10, 10, 20, 50, 1000]);
  assert.equal(roundish(NaN), 1);
});

test("ticks of a logarithmic axis are round, lie on it and have room", () => {
  assert.deepEqual(roundTicks(0, 3, 12), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  assert.deepEqual(roundTicks(0, 3, 4), [1, 10, 100, 1000]);
  assert.deepEqual(roundTicks(-2, 1, 7), [0.01, 0.03, 0.1, 0.3, 1, 3, 10]);
  assert.deepEqual(roundTicks(Math.log10(2), Math.log10(4), 10), [2, 2.5, 3, 3.5, 4].filter((n) => n <= 4));
  for (const [low, high, most] of [[-7, 9, 6], [0.1, 0.3, 3], [-1, 0.2, 5], [2, 14, 12]]) {
    const ticks = roundTicks(low, high, most);
    assert.ok(ticks.length >= 1 && ticks.length <= most + 2, `${ticks}`);
    assert.ok(ticks.every((tick) => Math.log10(tick) >= low - 1e-9 && Math.log10(tick) <= high + 1e-9));
  }
});

test("a tick says its number shortly", () => {
  assert.deepEqual([0.01, 2.5, 300, 1e6, 0.001].map(tickText), ["0.01", "2.5", "300", "1e+6", "1e-3"]);
});

test("a line through points goes on beyond its ends", () => {
  const [xs, ys] = [[0, 10, 20], [0, 100, 300]];
  assert.deepEqual([-5, 0, 5, 10, 15, 30].map((x) => along(xs, ys, x)), [-50, 0, 50, 100, 200, 500]);
});

test("an axis above counts its channel in round numbers, at the steps where they were reached", () => {
  const counted = { steps: [0, 100], values: [0, 25_600] };
  const { steps, counts } = countTicks(counted, [0, 100], 5);
  assert.deepEqual(counts, [0, 5000, 10_000, 15_000, 20_000, 25_000]);
  assert.deepEqual(steps, counts.map((count) => count / 256));
  assert.equal(countTicks(undefined, [0, 100], 5), null);
  assert.equal(countTicks({ steps: [1], values: [1] }, [0, 100], 5), null);
  assert.equal(countTicks({ steps: [1, 2], values: [3, 3] }, [0, 100], 5), null, "it has not moved");
});
