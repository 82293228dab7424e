import assert from "node:assert/strict";
import { test } from "node:test";

import { labelsOf, linesOf, marksOf, takenRows, worthALine } from "../../pages/board/charts/marks.js";

const THEME = { event: "pink", text: "white" };
const events = (...told) => told.map(([step, name, text = name]) => ({ step, name, text }));

test("which events are worth a line", () => {
  const kept = worthALine(events(
    [0, "started"], [5, "paused"], [6, "paused"], [6, "lr"], [7, "paused"], [7, "resumed"], [9, "paused"],
    [9, "forked"], [9, "resumed"], [12, "resumed"],
  ));
  const pauses = [[7, "paused"], [9, "paused"], [12, "resumed"]];
  const others = [[0, "started"], [6, "lr"], [9, "forked"]];
  const told = kept.map(({ step, name }) => [step, name]);
  assert.deepEqual(told, [...pauses, ...others], "what comes last is labelled first");
});

test("the ends of many epochs are not marked, those of few are", () => {
  const epochs = (count) => events(...Array.from({ length: count }, (_, i) => [i + 1, "epoch"]));
  assert.equal(marksOf(epochs(12), [], THEME).length, 12);
  assert.equal(marksOf([...epochs(13), ...events([5, "lr"])], [], THEME).length, 1);
});

test("notes come after events and are told apart from them", () => {
  const marks = marksOf(events([3, "lr", "lr 0.1 → 0.2"]), [{ step: 2, text: "look" }], THEME);
  assert.deepEqual(marks, [
    { step: 3, text: "lr 0.1 → 0.2", colour: "pink", dash: "dot" },
    { step: 2, text: "★ look", colour: "white", dash: "dash" },
  ]);
});

test("one line a step, and one for the earlier moment on show", () => {
  const marks = marksOf(events([3, "lr"], [3, "batch_size"], [4, "lr"]), [], THEME);
  assert.deepEqual(linesOf(marks, undefined, THEME).map(({ x0, x1 }) => [x0, x1]), [[3, 3], [4, 4]]);
  const past = linesOf(marks, 0, THEME).at(-1);
  assert.deepEqual([past.x0, past.line.color], [0, "white"]);
});

test("words of the figure's own lines take their stretch of the rows that they reach into", () => {
  const box = (left, top) => ({ left, right: left + 50, top, bottom: top + 19 });
  const rows = takenRows([box(10, 0), null, box(200, 30), box(300, 400)], 19);
  assert.deepEqual(rows, [[[10, 60]], [[200, 250]], [[200, 250]]]);
});

/** Labels of marks on a chart 1000 px wide over steps 0 to 1000, a letter 10 px wide. */
function labels(marks, taken = [[], [], []]) {
  const lengthOf = (text) => 10 * text.length;
  return labelsOf(marks, { range: [0, 1000], width: 1000, size: 14, taken, lengthOf });
}

const mark = (step, text) => ({ step, text, colour: "pink", dash: "dot" });

test("labels that would touch stand below each other, the newest on top", () => {
  const shown = labels([mark(100, "first"), mark(110, "second"), mark(120, "third"), mark(130, "fourth")]);
  assert.deepEqual(shown.map(({ text, row }) => [text, row]), [["fourth", 0], ["third", 1], ["second +1", 2]]);
  assert.deepEqual(shown.map(({ whole }) => whole), [null, null, "second<br>first"]);
});

test("events at the beginning of a long run keep their words: all of them are told by the labels there", () => {
  for (const count of [1, 3, 4, 10, 60]) {
    const names = Array.from({ length: count }, (_, i) => `lr ${i}`);
    const shown = labels(names.map((name, i) => mark(i / 10, name)));
    assert.equal(shown.length, Math.min(count, 3));
    const told = shown.flatMap(({ whole, text }) => (whole ?? text).split("<br>"));
    assert.deepEqual(told.sort(), names.sort());
  }
});

test("a label that counts others beside it touches none", () => {
  const shown = labels([mark(0, "a"), mark(1, "b"), mark(2, "c"), mark(3, "d"), mark(4, "e"), mark(60, "f")]);
  const spans = shown.map(({ step, text, row }) => [row, step, step + 10 * text.length]);
  for (const [row, from, to] of spans) {
    assert.ok(spans.every(([other, low, high]) => other !== row || low === from || high < from || low > to), String(spans));
  }
});

test("a label near the right edge stands to the left of its line; one off screen has none", () => {
  const [label, ...rest] = labels([mark(-5, "gone"), mark(1001, "to come"), mark(990, "at the end")]);
  assert.deepEqual([label.text, label.anchor], ["at the end", "right"]);
  assert.deepEqual(rest, []);
  assert.equal(labels([mark(10, "early")])[0].anchor, "left");
});

test("long words are cut and told in full under the pointer, and none acts as markup", () => {
  const [label] = labels([mark(500, `<b>${"long ".repeat(10)}`)]);
  assert.equal(Array.from(label.text.replace("&lt;", "<").replace("&gt;", ">")).length, 30);
  assert.ok(label.text.startsWith("&lt;b&gt;") && label.text.endsWith("…"));
  assert.ok(label.whole.startsWith("&lt;b&gt;long long"));
  assert.equal(labels([mark(500, "short")])[0].whole, null);
});

test("labels leave what other words take", () => {
  assert.equal(labels([mark(100, "word")], [[[90, 200]], [], []])[0].row, 1);
});
