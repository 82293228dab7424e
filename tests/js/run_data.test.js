import assert from "node:assert/strict";
import { test } from "node:test";

import { RunData } from "../../pages/board/client/run_data.js";

/** A decoded frame of run "a", unless the header says another. */
function frame(kind, header = {}, arrays = {}) {
  const array = ([shape, numbers]) => ({ shape, data: Float32Array.from(numbers) });
  const made = new Map(Object.entries(arrays).map(([name, content]) => [name, array(content)]));
  return { header: { kind, run: "a", state: "running", ...header }, arrays: made };
}

const LOSS = { "train/loss": [[2, 2], [1, 2, 4.5, 4.25]] };

test("a snapshot begins a run, deltas go on with it", () => {
  const data = new RunData();
  const change = data.receive(frame("snapshot", { step: 2 }, { ...LOSS, "weights/x": [[1, 2], [1, 2]] }));
  assert.deepEqual(change, {
    cleared: true, run: true, charts: false, channels: ["train/loss"], tables: ["weights/x"], events: false,
  });
  data.receive(frame("delta", { step: 3, base_step: 2, events: [{ step: 3, name: "lr", text: "lr" }] }, {
    "train/loss": [[2, 1], [1, 4]],
  }));
  assert.deepEqual(data.series.get("train/loss").steps, [1, 2, 3]);
  assert.equal(data.header.step, 3);
  assert.equal(data.events.length, 1);
  data.receive(frame("snapshot", { step: 1 }, { "train/loss": [[2, 1], [1, 9]] }));
  assert.deepEqual(data.series.get("train/loss").steps, [1], "it replaces everything");
  assert.equal(data.events.length, 0);
});

test("a delta of a run whose snapshot is still to come is left out", () => {
  const data = new RunData();
  assert.equal(data.receive(frame("delta")), null);
  data.receive(frame("snapshot"));
  assert.equal(data.receive(frame("delta", { run: "b" })), null);
  assert.equal(data.run, "a");
});

test("means go with their channel, and a table of two rows is no channel", () => {
  const data = new RunData();
  data.receive(frame("snapshot", {}, {
    ...LOSS, "train/loss:mean": [[2, 2], [1, 2, 4.5, 4.3]], "weights/two": [[2, 2], [1, 2, 3, 4]],
  }));
  assert.deepEqual([...data.series.keys()], ["train/loss"]);
  assert.ok(Math.abs(data.series.get("train/loss").means[1] - 4.3) < 1e-6);
  assert.deepEqual([...data.newest.keys()], ["weights/two"]);
});

test("without a run the example stays, until one comes", () => {
  const data = new RunData();
  const none = () => frame("snapshot", { run: null, state: "ready" });
  assert.equal(data.receive(none()).run, true, "nothing had come before");
  data.showExample(frame("snapshot", { run: "recorded", state: "done", step: 7 }, LOSS));
  assert.deepEqual([data.run, data.header.state, data.header.step], [null, "ready", 7]);
  assert.equal(data.receive(none()).run, false);
  assert.equal(data.series.size, 1, "a frame that says so again changes nothing");
  assert.equal(data.receive(frame("snapshot")).run, true);
  assert.equal(data.series.size, 0);
});

test("a recorded run that has new channels wants new panels", () => {
  const data = new RunData();
  data.receive(frame("snapshot", { charts: 1 }));
  assert.equal(data.receive(frame("delta", { charts: 1 })).charts, false);
  assert.equal(data.receive(frame("delta", { charts: 2 })).charts, true);
});

test("events and samples are bounded", () => {
  const data = new RunData();
  data.receive(frame("snapshot"));
  for (let step = 0; step < 500; step++) {
    data.receive(frame("delta", { events: [{ step, name: "lr", text: "" }], samples: [{ step, text: "x" }] }));
  }
  assert.deepEqual([data.events.length, data.samples.length], [200, 200]);
  assert.equal(data.events.at(-1).step, 499);
});

test("the headline losses: smoothed for text, as it is where nothing scatters, NaN where there is none", () => {
  const data = new RunData();
  data.receive(frame("snapshot", { step: 2 }, { ...LOSS, "val/loss": [[2, 1], [2, 4.1]] }));
  const { train, val } = data.losses();
  assert.ok(train > 4.25 && train < 4.5);
  assert.ok(Math.abs(val - 4.1) < 1e-6);
  data.header.reads_text = false;
  assert.equal(data.losses().train, 4.25);
  assert.deepEqual(new RunData().losses(), { train: NaN, val: NaN });
});
