import assert from "node:assert/strict";
import { test } from "node:test";

import { planned, rateAt } from "../../pages/board/charts/schedule.js";

const PLAN = {
  lr: 0.01, max_steps: 100, schedule: "cosine", warmup_steps: 10, decay_share: 0.4, final_share: 0.1,
};

test("the plan is the one that Python trains by", () => {
  const cases = JSON.parse(process.env.LOOPSCOPE_RATES ?? "[]");
  for (const { settings, rates } of cases) {
    rates.forEach((rate, at) => assert.ok(Math.abs(rateAt(settings, at + 1) - rate) <= 1e-12 * settings.lr, `${at + 1}`));
  }
});

test("a plan goes from the moment on show to the end of the axis or of the run", () => {
  const { steps, values } = planned(PLAN, 40.2, 1e9, 7);
  assert.equal(steps[0], 41);
  assert.equal(steps.at(-1), 100);
  assert.equal(steps.length, 7);
  assert.deepEqual(values, steps.map((step) => rateAt(PLAN, step)));
  assert.deepEqual(planned(PLAN, 200, 300, 7), { steps: [], values: [] });
});

test("a run from elsewhere has no plan", () => {
  assert.deepEqual(planned(undefined, 1, 100, 7), { steps: [], values: [] });
  assert.deepEqual(planned(/** @type {any} */ ({ lr: 0.1 }), 1, 100, 7), { steps: [], values: [] });
});
