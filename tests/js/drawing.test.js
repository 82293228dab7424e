import assert from "node:assert/strict";
import { test } from "node:test";

import { nextToDraw } from "../../pages/board/drawing.js";

const panel = (drawn, rest = 250) => ({ chart: { drawn }, rest });

test("the main chart is drawn each time, and the other that has waited longest", () => {
  const [main, one, two] = [panel(990, 0), panel(500), panel(300)];
  assert.deepEqual(nextToDraw([one, two, main], 1000, false), { main, other: two });
  assert.deepEqual(nextToDraw([one], 1000, false), { main: undefined, other: one });
});

test("another chart has its rest", () => {
  const [main, one] = [panel(0, 0), panel(800)];
  assert.equal(nextToDraw([main, one], 1000, false).other, undefined);
  assert.equal(nextToDraw([main, one], 1050, false).other, one);
});

test("where the page needs the time the main one is drawn alone", () => {
  const [main, one] = [panel(0, 0), panel(0)];
  assert.deepEqual(nextToDraw([main, one], 1000, true), { main, other: undefined });
});
