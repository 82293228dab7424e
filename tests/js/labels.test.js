import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange, put } from "../../pages/board/charts/labels.js";

const WIDTH = 500;

/** The places of labels 100 px long with these tops. */
function places(tops, curves, before = []) {
  const boxes = tops.map((top) => ({ long: 100, top, bottom: top + 20 }));
  return arrange(boxes, curves, WIDTH, before.map((place) => ({ place }))).map((one) => one && one.place);
}

test("a label stands where curves leave room", () => {
  assert.deepEqual(places([100], []), [1]);
  assert.deepEqual(places([100], [[[0, 0], [350, 0], [500, 300]]]), [0.75]);
  assert.deepEqual(places([100], [[[260, 110], [500, 110]]]), [0.25], "the rise at the right stays free");
});

test("a label stays where it stood unless the curves run through it and another place is better", () => {
  const falls = [[0, 0], [100, 0], [450, 300]];
  const flat = [[0, 110], [500, 110]];
  assert.deepEqual(places([100], [falls], [0.5]), [1], "it has to move: the curve runs there");
  assert.deepEqual(places([100], [flat], [0.5]), [0.5], "nowhere is better: it stays");
});

test("no label lies on another", () => {
  assert.deepEqual(places([100, 110, 200], []), [1, 0.75, 1]);
  assert.deepEqual(places(Array(5).fill(100), []), [1, 0.75, 0.5, 0.25, 0]);
  assert.equal(places(Array(6).fill(100), []).at(-1), null, "rather none than one on another");
});

test("a label's note is anchored at the ends of its line and centred between", () => {
  const note = { text: "floor", y: 2.4 };
  const placed = (place) => ({ place, left: place * 400, right: place * 400 + 100, top: 0, bottom: 20 });
  assert.deepEqual(put(note, placed(1), WIDTH), [{ ...note, x: 1, xanchor: "right" }]);
  assert.deepEqual(put(note, placed(0), WIDTH), [{ ...note, x: 0, xanchor: "left" }]);
  assert.deepEqual(put(note, placed(0.5), WIDTH), [{ ...note, x: 0.5, xanchor: "center" }]);
  assert.deepEqual(put(note, null, WIDTH), []);
});
