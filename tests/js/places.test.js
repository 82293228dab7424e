import assert from "node:assert/strict";
import { test } from "node:test";

import { placesOf } from "../../pages/board/panels/places.js";

/** The cells of a 12-column grid that a place covers. */
function cells(place) {
  const [row, from, , span] = place.split(" / ");
  const width = Number(span.split(" ")[1]);
  return Array.from({ length: width }, (_, at) => `${row}:${Number(from) + at}`);
}

const own = (count) => Array.from({ length: count }, () => ({ area: "left" }));
const SETS = {
  "numbers alone": (count) => own(count),
  "a loss": (count) => [{ area: "main" }, ...own(count)],
  "a loss and a gradient norm": (count) => [{ area: "main" }, { area: "left" }, ...own(count)],
  "a loss and tables": (count) => [{ area: "main" }, { area: "side" }, ...own(count)],
  "a loss and samples": (count) => [{ area: "main" }, ...own(count), { area: "foot" }],
  "all of it": (count) => [{ area: "main" }, { area: "side" }, { area: "left" }, ...own(count), { area: "foot" }],
};

for (const [name, make] of Object.entries(SETS)) {
  test(`each of 0 to 64 panels beside ${name} has a place of its own, and no cell is empty`, () => {
    for (let count = 0; count <= 64; count++) {
      const panels = make(count);
      const { places, rows } = placesOf(panels);
      assert.equal(places.length, panels.length);
      const taken = places.flatMap(cells);
      assert.equal(new Set(taken).size, taken.length, `${count}: one lies on another`);
      assert.equal(taken.length, 12 * rows, `${count}: a cell is empty`);
      for (const cell of taken) assert.match(cell, /^\d+:(?:[1-9]|1[0-2])$/);
      const widths = places.map((place) => cells(place).length);
      assert.ok(Math.min(12, ...widths) >= 3, `${count}: one is too narrow`);
    }
  });
}

test("the five panels of a language model lie as they always did", () => {
  const panels = ["main", "side", "left", "right", "foot"].map((area) => ({ area }));
  const expected = ["1 / 1 / auto / span 8", "1 / 9 / auto / span 4"];
  for (const from of [1, 5, 9]) expected.push(`2 / ${from} / auto / span 4`);
  assert.deepEqual(placesOf(panels), { places: expected, rows: 2 });
});
