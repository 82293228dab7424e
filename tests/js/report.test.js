import assert from "node:assert/strict";
import { test } from "node:test";

import { Reporter } from "../../pages/board/client/report.js";

const state = (name) => ({ run: "a", state: name, version: 0, library: 0 });

/** A page, what it has been told, and a stream to compare it with. */
function page() {
  const heard = [];
  const reporter = new Reporter();
  return {
    heard,
    draw: (name) => reporter.drawn(state(name), (shown) => heard.push(shown.state)),
    compare: (name) => reporter.compare({ ...state(name), settings: { version: 0 } }),
    has: async (count) => {
      while (heard.length < count) await new Promise((done) => setTimeout(done, 10));
    },
  };
}

test("a page drawn in the middle of a single step hears that it is over", async () => {
  const { heard, draw, compare, has } = page();
  draw("running");
  compare("paused");
  await has(1);
  draw("paused");
  compare("paused");
  draw("running"); // drawn while one step was made; the stream never said so
  compare("paused");
  await has(2);
  compare("paused"); // not drawn again since: it has heard
  assert.deepEqual(heard, ["paused", "paused"]);
});

test("a difference that is gone at once is not reported", async () => {
  const { heard, draw, compare } = page();
  draw("running");
  compare("paused");
  compare("running");
  await new Promise((done) => setTimeout(done, 400));
  assert.deepEqual(heard, []);
});
