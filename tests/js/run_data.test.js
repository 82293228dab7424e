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

test("hundreds of epochs and pauses push no turned knob out", () => {
  const data = new RunData();
  data.receive(frame("snapshot", { events: [{ step: 5, name: "lr", text: "" }] }));
  for (let step = 6; step < 506; step++) {
    data.receive(frame("delta", { events: [{ step, name: step % 2 ? "epoch" : "paused", text: "" }] }));
  }
  assert.equal(data.events.length, 200);
  assert.deepEqual([data.events[0].name, data.events[1].step, data.events.at(-1).step], ["lr", 307, 505]);
});

test("the headline losses: smoothed for text, as it is where nothing scatters, NaN where there is none", () => {
  const data = new RunData();
  data.receive(frame("snapshot", { step: 2 }, { ...LOSS, "val/loss": [[2, 1], [2, 4.1]] }));
  data.advance();
  const { train, val } = data.losses();
  assert.ok(train > 4.25 && train < 4.5);
  assert.ok(Math.abs(val - 4.1) < 1e-6);
  data.header.reads_text = false;
  assert.equal(data.losses().train, 4.25);
  assert.deepEqual(new RunData().losses(), { train: NaN, val: NaN });
});

test("the headline's training loss is the server's: two tabs that hold different points agree", () => {
  const told = { step: 2, train_loss: 3.21, state: "paused" };
  const [early, late] = [LOSS, { "train/loss": [[2, 1], [2, 4.25]] }].map((arrays) => {
    const data = new RunData();
    data.receive(frame("snapshot", told, arrays));
    data.advance();
    return data;
  });
  assert.equal(early.losses().train, 3.21);
  assert.deepEqual(early.losses(), { ...late.losses() });
  assert.equal(early.losses(1, 5).train, 5, "so at an earlier moment");
  early.receive(frame("snapshot", { ...told, train_loss: null }, LOSS));
  assert.ok(early.losses().train > 4, "where it tells none, that of the points");
});

/** A run at full speed: its tables are of step 200, its newest step is 300. */
function training(header = {}) {
  const data = new RunData();
  const points = [[2, 4], [100, 200, 250, 300, 4, 3, 2, 1]];
  data.receive(frame("snapshot", { step: 200, tables_step: 200, tokens_seen: 2000, passes: 1, epoch: 0, train_loss: 3.5 }));
  data.receive(frame("delta", {
    step: 300, train_loss: 2.5, steps_per_second: 1000, tokens_seen: 3000, passes: 2, epoch: 0,
    events: [{ step: 150, name: "lr", text: "" }, { step: 290, name: "lr", text: "" }],
    samples: [{ step: 200, text: "x" }, { step: 280, text: "y" }], ...header,
  }, { "train/loss": points }));
  return data;
}

test("everything is of the step of the tables while the run trains", () => {
  const data = training();
  assert.equal(data.advance(), true);
  assert.equal(data.moment, 200);
  assert.deepEqual(data.curve("train/loss").steps, [100, 200]);
  assert.ok(data.losses().train >= 3, "nothing of the steps after it");
  assert.deepEqual(data.happened.map(({ step }) => step), [150]);
  assert.deepEqual(data.takeSamples().map(({ step }) => step), [200]);
  assert.deepEqual(data.takeSamples(), []);
  assert.equal(data.headline.step, 200);
  assert.deepEqual([data.headline.tokens_seen, data.headline.train_loss], [2000, 3.5]);
  assert.equal(data.advance(), false, "nothing new to show");
  data.receive(frame("delta", { step: 350, tables_step: 250, steps_per_second: 1000, tokens_seen: 3500, passes: 2 }));
  assert.equal(data.advance(), true);
  assert.deepEqual([data.moment, data.headline.tokens_seen], [250, 2500]);
  assert.deepEqual(data.curve("train/loss").steps, [100, 200, 250]);
});

test("the narrator's line is the one of the moment on show", () => {
  const data = new RunData();
  const points = [[2, 4], [100, 200, 250, 300, 4, 3, 2, 1]];
  const narration = (text) => ({ narration: { step: 1, text } });
  data.receive(frame("snapshot", { step: 200, tables_step: 200, ...narration("before") }));
  data.receive(frame("delta", { step: 300, steps_per_second: 1000, ...narration("later") }, { "train/loss": points }));
  data.advance();
  assert.equal(data.moment, 200);
  assert.equal(data.headline.narration.text, "before");
});

test("a run that stands still shows its last step, and what comes for it later", () => {
  const data = training({ state: "paused" });
  data.advance();
  assert.deepEqual([data.moment, data.headline.tokens_seen], [300, 3000]);
  assert.deepEqual(data.takeSamples().map(({ step }) => step), [200, 280]);
  data.receive(frame("delta", { state: "paused", step: 300, tables_step: 300 }, { "weights/x": [[1, 2], [1, 2]] }));
  assert.equal(data.advance(), true);
  assert.equal(data.advance(), false);
});

test("tables that are long in coming hold nothing up, and nothing goes back", () => {
  const data = training({ steps_per_second: 20 });
  data.advance();
  assert.equal(data.moment, 300);
  data.receive(frame("delta", { step: 310, tables_step: 290, steps_per_second: 20 }));
  data.advance();
  assert.equal(data.moment, 300);
  const none = new RunData();
  none.receive(frame("snapshot", { step: 7, tables_step: null }));
  none.advance();
  assert.equal(none.moment, 7, "a run without tables");
});

test("without a run nothing is waited for: the example's panels come", async () => {
  const data = new RunData();
  data.receive(frame("snapshot", { run: null, state: "ready" }));
  assert.equal(await Promise.race([data.begun, new Promise((done) => setTimeout(done, 50, "waits"))]), undefined);
});

test("the first points wait for no table", () => {
  const data = new RunData();
  data.receive(frame("snapshot", { step: 0, tables_step: 0 }));
  data.receive(frame("delta", { step: 40, steps_per_second: 1000 }));
  data.advance();
  assert.equal(data.moment, 40);
});
