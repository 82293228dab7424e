import assert from "node:assert/strict";
import { test } from "node:test";

import { PreviousRun } from "../../pages/board/client/previous_run.js";

/** A server that answers when it is told to; `asked` are the steps asked for. */
function server() {
  const asked = [];
  const answers = [];
  const series = (run, channel, from, to) => {
    asked.push(to);
    return new Promise((answer) => answers.push(answer));
  };
  return { series, asked, answers };
}

const part = (last) => ({ steps: [last], values: [1], means: [1] });

test("it is asked for as far as the axis goes, once", async () => {
  const requests = server();
  const previous = new PreviousRun("a", requests);
  const first = previous.loadTo(10);
  assert.equal(await previous.loadTo(10), false);
  assert.equal(await previous.loadTo(5), false);
  requests.answers[0](part(10));
  assert.equal(await first, true);
  assert.deepEqual(requests.asked, [10]);
  assert.deepEqual(previous.steps, [10]);
});

test("an answer that comes late does not replace a newer one, and none is no harm", async () => {
  const requests = server();
  const previous = new PreviousRun("a", requests);
  const [first, second] = [previous.loadTo(10), previous.loadTo(20)];
  requests.answers[1](part(20));
  assert.equal(await second, true);
  requests.answers[0](part(10));
  assert.equal(await first, false);
  assert.deepEqual(previous.steps, [20]);
  const third = previous.loadTo(40);
  requests.answers[2](null);
  assert.equal(await third, false);
  assert.deepEqual(previous.steps, [20]);
});
