// Where the panels of the stage lie: each has a place of its own, and no place stays empty, however many there are.

/**
 * @typedef {{area: string}} Placed
 * @typedef {{places: string[], rows: number}} Places of each panel as CSS's grid-area, and how many rows they fill
 */

const COLUMNS = 12; // a row has one to four panels
const MOST_BESIDE = 3;
const ALL_BESIDE = 4; // so many are no reason for another row
const MAIN = 8; // columns of the main panel beside another

/**
 * The main panel is on top, with the tables or else the samples beside it; the others follow below in their order, in
 * rows of up to three that differ by at most one panel; four have one row.
 * @param {Placed[]} panels
 * @returns {Places}
 */
export function placesOf(panels) {
  const order = [...panels.keys()];
  const take = (/** @type {(panel: Placed) => boolean} */ wanted) => {
    const at = order.findIndex((place) => wanted(panels[place]));
    return at < 0 ? [] : order.splice(at, 1);
  };
  const main = take(({ area }) => area === "main");
  const rows = [];
  if (main.length) {
    let beside = take(({ area }) => area === "side");
    if (!beside.length) beside = take(({ area }) => area === "foot");
    if (!beside.length) beside = order.splice(0, 1);
    rows.push([...main, ...beside]);
  }
  for (let left = order.length === ALL_BESIDE ? 1 : Math.ceil(order.length / MOST_BESIDE); left > 0; left--) {
    rows.push(order.splice(0, Math.ceil(order.length / left)));
  }
  const places = new Array(panels.length);
  rows.forEach((row, number) => {
    const first = number === 0 && main.length > 0 && row.length > 1 ? MAIN : COLUMNS / row.length;
    row.forEach((panel, at) => {
      const from = at === 0 ? 1 : 1 + first + ((COLUMNS - first) / (row.length - 1)) * (at - 1);
      const width = at === 0 ? first : (COLUMNS - first) / (row.length - 1);
      places[panel] = `${number + 1} / ${from} / auto / span ${width}`;
    });
  });
  return { places, rows: rows.length };
}
