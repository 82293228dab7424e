import assert from "node:assert/strict";
import { test } from "node:test";

import { amount, clock, figures, literal, visible, whole } from "../../pages/board/format.js";

test("numbers as people read them", () => {
  assert.deepEqual([2.4871, 0.012343, 12_340, 1.2e-5, 0, -3.14159, 2.5e7].map((n) => figures(n)), [
    "2.487", "0.01234", "12,340", "1.20e-5", "0.000", "-3.142", "2.50e+7",
  ]);
  assert.equal(figures(3.14159, 3), "3.14");
  assert.deepEqual([NaN, Infinity, undefined].map((n) => figures(n)), ["–", "–", "–"]);
});

test("whole numbers and amounts", () => {
  assert.deepEqual([840, 12_340, 1e9].map(whole), ["840", "12,340", "1,000,000,000"]);
  assert.deepEqual([840, 12_340, 3_161_234, 2.5e9, 1e12].map(amount), ["840", "12,340", "3.16 M", "2.50 G", "1.00 T"]);
  assert.equal(amount(undefined), "–");
});

test("seconds on a clock", () => {
  assert.deepEqual([0, 26.4, 725, 11_220, -3].map(clock), ["0:00", "0:26", "12:05", "3:07:00", "0:00"]);
  assert.equal(clock(NaN), "–");
});

test("blanks are visible and markup stays text", () => {
  assert.equal(visible("a b\n\t\r"), "a␣b⏎⇥␍");
  assert.equal(literal("<b>&amp;</b>"), "&lt;b&gt;&amp;amp;&lt;/b&gt;");
  assert.equal(literal(3), "3");
});
