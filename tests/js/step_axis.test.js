import assert from "node:assert/strict";
import { test } from "node:test";

import { thin } from "../../pages/board/charts/series.js";
import { StepAxis } from "../../pages/board/charts/step_axis.js";

test("a linear axis begins at 0 and grows with the run", () => {
  const axis = new StepAxis();
  assert.equal(axis.grow(500, 10_000), true);
  assert.deepEqual(axis.range, [0, axis.edge]);
  assert.ok(axis.edge >= 500);
  assert.equal(axis.grow(501, 10_000), false);
  assert.deepEqual(axis.detailed, []);
});

test("a logarithmic axis counts in powers of ten, from step 1", () => {
  const axis = new StepAxis();
  axis.log = true;
  axis.grow(100_000, 100_000);
  assert.deepEqual(axis.range, [0, 5]);
  assert.equal(axis.place(1000), 3);
  assert.equal(axis.place(0), 0);
  assert.deepEqual(axis.steps([0, 5]), [1, 100_000]);
  assert.ok(axis.detailed[0][1] > 1000 && axis.detailed[1][1] < 1000, "the early steps are wanted in full");
});

test("a stretch that was chosen stays, in either kind", () => {
  const axis = new StepAxis();
  axis.zoom = [10, 1000];
  axis.grow(5000, 10_000);
  assert.deepEqual(axis.range, [10, 1000]);
  axis.log = true;
  assert.deepEqual(axis.range, [1, 3]);
  assert.deepEqual(axis.detailed, [[10, 1000]]);
  axis.begin();
  assert.equal(axis.zoom, null);
});

test("thinning for a logarithmic axis leaves as many points to each of its stretches", () => {
  const steps = Array.from({ length: 10_000 }, (_, at) => at + 1);
  const values = steps.map((step) => Math.sin(step));
  const early = (curve) => curve.steps.filter((step) => step <= 100).length;
  const most = 400;
  assert.ok(early(thin({ steps, values }, most)) < 10);
  assert.ok(early(thin({ steps, values }, most, Math.log10)) > 60);
});
