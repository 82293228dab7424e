import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Connection } from "../../pages/board/client/wire.js";

/** What a browser offers: sockets that do what the test says, and events of the page. */
class Socket {
  static OPEN = 1;
  static all = [];
  readyState = 0;
  closed = false;

  constructor() {
    Socket.all.push(this);
  }

  /** A frame of nothing but its header comes in. */
  frame(header = {}) {
    this.readyState = Socket.OPEN;
    const text = new TextEncoder().encode(JSON.stringify(header));
    const length = 4 * Math.ceil(text.length / 4);
    const bytes = new Uint8Array(4 + length).fill(32);
    new DataView(bytes.buffer).setUint32(0, length, true);
    bytes.set(text, 4);
    this.onmessage?.({ data: bytes.buffer });
  }

  close() {
    this.closed = true; // and nothing follows: the other side never answers
  }
}

let listeners, heard;
const newest = () => Socket.all.at(-1);
const kinds = () => heard.map(({ kind }) => kind);

beforeEach(() => {
  listeners = new Map();
  heard = [];
  Socket.all = [];
  const addEventListener = (name, call) => listeners.set(name, call);
  Object.assign(globalThis, { WebSocket: Socket, addEventListener, document: { addEventListener } });
  mock.timers.enable({ apis: ["setTimeout"] });
});
afterEach(() => mock.timers.reset());

/** A connection that has had a frame. */
function connected() {
  const connection = new Connection("ws://here/live", () => {}, (status) => heard.push(status));
  newest().frame();
  return connection;
}

/** So much time passes, in ms, and a frame comes each second if the server lives. */
function pass(time, { alive = false } = {}) {
  for (let at = 0; at < time; at += 100) {
    mock.timers.tick(100);
    if (alive && at % 1000 === 900) newest().frame();
  }
}

test("a socket that is silently dead is seen within 3 s, and another is tried", () => {
  connected();
  pass(60_000, { alive: true });
  assert.deepEqual(new Set(kinds()), new Set(["open"]), "a frame each second is enough");
  pass(1900);
  assert.equal(kinds().at(-1), "open", "one late frame is no loss");
  pass(1100);
  assert.equal(kinds().at(-1), "silent");
  assert.equal(Socket.all.length, 1);
  pass(7400); // 10.4 s: given up, and the next try is 0.75 s away at the least
  assert.equal(kinds().at(-1), "lost");
  assert.ok(newest().closed);
  pass(2000);
  assert.equal(Socket.all.length, 2);
});

test("a dead network of 25 s: it is tried again and again, and goes on when it returns", () => {
  connected();
  pass(25_000);
  const tries = Socket.all.length;
  assert.ok(tries >= 2);
  assert.equal(kinds().at(-1), "lost", "a socket that has not even opened says nothing new");
  let waited = 0;
  for (; Socket.all.length === tries; waited += 100) pass(100);
  assert.ok(waited < 23_000, "the longest wait, and the patience with a socket that never opened");
  newest().frame();
  assert.equal(kinds().at(-1), "open");
  pass(30_000, { alive: true });
  assert.equal(kinds().at(-1), "open");
});

test("where the silence ends by itself the same socket goes on", () => {
  connected();
  pass(4000);
  assert.equal(kinds().at(-1), "silent");
  newest().frame();
  assert.equal(kinds().at(-1), "open");
  assert.equal(Socket.all.length, 1);
});

test("a socket given up is not heard again", () => {
  connected();
  const first = newest();
  pass(13_000);
  first.frame();
  first.onclose({ code: 1006 });
  assert.notEqual(kinds().at(-1), "open");
  newest().frame();
  assert.equal(kinds().at(-1), "open");
});

test("the browser is online again: no wait", () => {
  connected();
  pass(4000);
  listeners.get("online")();
  assert.equal(Socket.all.length, 2);
  assert.ok(Socket.all[0].closed);
  listeners.get("online")();
  assert.equal(Socket.all.length, 2, "one at a time");
});

test("a run that is not there is not asked for again", () => {
  connected();
  newest().onclose({ code: 4404 });
  pass(60_000);
  assert.equal(kinds().at(-1), "unknown");
  assert.equal(Socket.all.length, 1);
});

test("who stands tries for a seat again after a while, once, and hears of questions meanwhile", () => {
  const connection = connected();
  const { socket } = connection;
  const before = Socket.all.length;
  for (let second = 0; second < 40; second++) {
    newest().frame({ standing: "All seats are taken" });
    mock.timers.tick(1000);
  }
  assert.equal(Socket.all.length, before);
  for (let second = 0; second < 40; second++) {
    newest().frame({ standing: "All seats are taken" });
    mock.timers.tick(1000);
  }
  assert.equal(Socket.all.length, before + 1);
  assert.ok(socket.closed);
  assert.ok(!kinds().includes("lost"));
});
