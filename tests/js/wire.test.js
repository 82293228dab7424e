import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Connection, decode } from "../../pages/board/client/wire.js";

/** A frame as the wire format has it, made by hand. */
function frameOf(header, ...arrays) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 4) * 4;
  const bytes = new Uint8Array(4 + length + 4 * arrays.flat().length).fill(0x20, 4, 4 + length);
  new DataView(bytes.buffer).setUint32(0, length, true);
  bytes.set(text, 4);
  const numbers = new DataView(bytes.buffer, 4 + length);
  arrays.flat().forEach((number, i) => numbers.setFloat32(4 * i, number, true));
  return bytes.buffer;
}

test("a frame is its header and its arrays by name", () => {
  const shapes = { "train/loss": [2, 2], "weights/ä": [1, 3], none: [2, 0] };
  const arrays = Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
  const { header, arrays: found } = decode(frameOf({ kind: "delta", run: "ä", arrays }, [0, 1, 4.5, 4.25], [1, -2, 3]));
  assert.deepEqual([header.kind, header.run], ["delta", "ä"]);
  assert.deepEqual(found.get("train/loss"), { shape: [2, 2], data: Float32Array.of(0, 1, 4.5, 4.25) });
  assert.deepEqual(found.get("weights/ä").data, Float32Array.of(1, -2, 3));
  assert.equal(found.get("none").data.length, 0);
});

test("a frame without arrays", () => {
  assert.equal(decode(frameOf({ kind: "snapshot", run: null })).arrays.size, 0);
});

test("a frame that Python has encoded", async () => {
  // The recorded example, or what the test in Python has written.
  const path = process.env.LOOPSCOPE_FRAME ?? new URL("../../data/example.frame", import.meta.url);
  const { buffer, byteOffset, byteLength } = await readFile(path);
  const { header, arrays } = decode(buffer.slice(byteOffset, byteOffset + byteLength));
  assert.equal(header.kind, "snapshot");
  const { shape, data } = arrays.get("train/loss");
  assert.equal(shape[0], 2);
  assert.equal(data.length, 2 * shape[1]);
  assert.ok(data.every(Number.isFinite));
  const expected = process.env.LOOPSCOPE_EXPECTED;
  if (expected) {
    const found = [...arrays].map(([name, array]) => [name, array.shape, Array.from(array.data)]);
    assert.deepEqual(found, JSON.parse(expected));
  }
});

test("where all seats are taken the board says why, and comes back later than after a loss", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const made = [];
  const statuses = [];
  globalThis.addEventListener = () => {};
  globalThis.document = /** @type {any} */ ({ addEventListener() {} });
  globalThis.WebSocket = /** @type {any} */ (
    class {
      constructor() {
        made.push(this);
      }

      close() {}
    }
  );
  new Connection("ws://here/live", () => {}, (status) => statuses.push(status));
  made[0].onclose({ code: 1013, reason: "All seats are taken" });
  t.mock.timers.tick(25_000);
  made[1].onclose({ code: 1006, reason: "" });
  const [full, lost] = statuses;
  assert.equal(full.kind, "full");
  assert.equal(full.reason, "All seats are taken");
  assert.equal(lost.kind, "lost");
  assert.ok(full.seconds >= 15 && lost.seconds < 2, `${full.seconds} s, ${lost.seconds} s`);
  t.mock.timers.tick(2000);
  assert.equal(made.length, 3);
});
