import assert from "node:assert/strict";
import { test } from "node:test";

import { predictedLines } from "../../pages/board/charts/marks.js";
import { shown, stacked } from "../../pages/board/panels/distribution.js";
import { Pad } from "../../pages/board/panels/pad.js";
import { Scale } from "../../pages/board/panels/scale.js";

/** As much of a page as a panel needs. */
class Node {
  constructor() {
    this.children = [];
    this.attributes = {};
    this.style = { setProperty() {} };
    this.classList = { add() {}, toggle() {} };
    this.dataset = {};
  }
  append(...nodes) {
    this.children.push(...nodes);
  }
  appendChild(node) {
    this.children.push(node);
    return node;
  }
  replaceChildren(...nodes) {
    this.children = nodes;
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
}
globalThis.document = { createElement: () => new Node(), createElementNS: () => new Node() };

test("a linear scale has round ticks within its bounds", () => {
  const ticks = (low, high) => new Scale(low, high).ticks(5).map(({ value }) => value);
  assert.deepEqual(ticks(0, 1000), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(ticks(1.3, 4.4), [2, 3, 4]);
  assert.deepEqual(ticks(-1, 1), [-1, -0.5, 0, 0.5, 1]);
});

test("a logarithmic slider's middle is the geometric one, its numbers have few digits and stay in bounds", () => {
  const scale = new Scale(1e-4, 10, true);
  assert.equal(scale.rounded(0.6), 0.1);
  assert.equal(scale.rounded(0), 1e-4);
  assert.equal(scale.rounded(1), 10);
  for (let at = 0; at <= 1; at += 0.01) {
    const value = scale.rounded(at);
    assert.ok(value >= 1e-4 && value <= 10 && String(value).length <= 9, String(value));
    assert.ok(Math.abs(scale.share(value) - at) < 0.005);
  }
  for (const value of [new Scale(0.123456, 0.987654).rounded(0), new Scale(0.123456, 0.987654).rounded(1)]) {
    assert.ok(value >= 0.123456 && value <= 0.987654);
  }
  assert.equal(new Scale(0, 100).rounded(0.333), 33.3);
});

test("numbers close together stand on each other, and a thousand of them stay within the strip", () => {
  const scale = new Scale(0, 1);
  const [a, b, c] = stacked([0.5, 0.501, 0.9], scale);
  assert.equal(a[0], b[0]);
  assert.ok(b[1] > a[1]);
  assert.equal(c[1], a[1]);
  const many = stacked(new Array(1000).fill(0.2), scale);
  assert.ok(many.every(([across, up]) => across >= 0 && across <= 1 && up > 0 && up < 1));
});

test("of many characters those that were chosen most have a row, and the one's own and the right one", () => {
  const counts = new Array(65).fill(0);
  counts[7] = 3;
  counts[9] = 12;
  assert.deepEqual(shown(65, counts, [4, 9, undefined, -1], true), [9, 7, 4]);
  assert.deepEqual(shown(3, [0, 0, 1], [], false), [0, 1, 2]);
});

const BOUNDS = { first: 0, last: 1000, low: 1.23456, high: 4.34567 };
const pad = (bounds = BOUNDS) => new Pad(/** @type {any} */ (bounds), () => {});

/** What the server takes: 2 to 64 points in bounds, their steps going up. */
function valid(points, { first, last, low, high }) {
  assert.ok(points.length >= 2 && points.length <= 64);
  points.forEach(([step, value], at) => {
    assert.ok(step >= first && step <= last && value >= low && value <= high, `${step} ${value}`);
    assert.ok(at === 0 || step > points[at - 1][0]);
  });
}

test("a curve that was drawn from either side is one that the server takes", () => {
  for (const bounds of [BOUNDS, { ...BOUNDS, first: 5, last: 12 }, { ...BOUNDS, last: 63 }, { ...BOUNDS, low: 0, high: 1e-3 }]) {
    const drawn = pad(bounds);
    drawn.stroke(drawn.last, 0);
    drawn.stroke(0, 1);
    valid(drawn.points, bounds);
    assert.ok(Math.abs(drawn.points[0][1] - bounds.high) < 1e-3 * bounds.high);
    assert.ok(Math.abs(drawn.points.at(-1)[1] - bounds.low) < 1e-3 * bounds.high);
    assert.deepEqual([drawn.points[0][0], drawn.points.at(-1)[0]], [bounds.first, bounds.last]);
    const again = pad(bounds);
    again.take(drawn.points);
    assert.deepEqual(again.points, drawn.points);
  }
});

test("a fast stroke leaves no hole, and what is drawn over is replaced", () => {
  const drawn = pad();
  drawn.stroke(10, 0.2);
  drawn.stroke(40, 0.8);
  assert.equal(drawn.points.length, 31);
  drawn.before = null; // another stroke
  drawn.stroke(20, 0);
  assert.equal(drawn.points.length, 31);
  assert.equal(drawn.heights[20], 0);
  drawn.clear();
  assert.deepEqual(drawn.points, []);
});

test("the arrow keys draw too, and what they say is the step and the loss there", () => {
  const drawn = pad({ first: 0, last: 800, low: 0, high: 4 });
  drawn.bend(0, 5);
  for (let column = 0; column < 8; column++) drawn.bend(1, 0);
  drawn.bend(0, -5);
  valid(drawn.points, { first: 0, last: 800, low: 0, high: 4 });
  assert.equal(drawn.points.length, 64);
  assert.equal(drawn.plot.area.attributes["aria-valuetext"], "step 800: loss 1.50");
  assert.equal(drawn.points[0][1], 2.5);
});

const THEME = { baseline: "grey", event: "pink" };
const AXES = { log: false, logSteps: false };
const CURVES = { curves: [[[0, 4], [10, 3]], [[0, 3], [10, 2]]], median: [[0, 3.5], [10, 2.5]] };

test("drawn curves stand behind the real one on the chart of their channel, once the question is closed", () => {
  const question = (more) => /** @type {any} */ ({ kind: "curve", channel: "train/loss", open: false, distribution: CURVES, ...more });
  const lines = (more, channels = ["train/loss"], axes = AXES) => predictedLines(question(more), new Set(channels), axes, THEME);
  assert.equal(lines({}).length, 3);
  assert.ok(lines({}).every(({ layer }) => layer === "below"));
  assert.equal(lines({}).at(-1).path, "M0,3.5L10,2.5");
  assert.deepEqual(lines({ open: true }), []);
  assert.deepEqual(lines({ distribution: undefined }), [], "hidden");
  assert.deepEqual(lines({}, ["grad_norm"]), []);
  assert.deepEqual(lines({ kind: "number" }), []);
  assert.deepEqual(lines({}, ["train/loss"], { log: false, logSteps: true }), [], "step 0 has no place there");
  assert.deepEqual(predictedLines(null, new Set(["train/loss"]), AXES, THEME), []);
});
