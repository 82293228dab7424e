// What only a race has: the tables of two chosen lanes and their difference, and the samples of all lanes side by side.
// Which lanes there are stands in the figure's `meta.lanes`.
import { card } from "./samples.js";
import { TableChart } from "../charts/table.js";
import { repaint } from "../charts/theme.js";
import { element } from "../dom.js";

export class LaneTable extends TableChart {
  pair = [0, 1]; // the places of lanes A and B

  setPanel(panel) {
    this.lanes = panel.figure.layout.meta.lanes;
    const last = this.lanes.length - 1;
    this.pair = this.pair.map((lane) => Math.min(lane, last));
    const drawn = super.setPanel(panel);
    this.frame.legend.prepend(...this.pair.map((_, place) => this.select(place)));
    return drawn;
  }

  /** A list of the lanes, to choose A (`place` 0) or B (1) from. */
  select(place) {
    const name = "AB"[place];
    const box = element("label", "ls-lane", name, { title: `Lane ${name}` });
    const list = element("select", "ls-button", "", {
      onchange: () => {
        this.pair[place] = Number(list.value);
        this.redo();
      },
    });
    list.setAttribute("aria-label", `Lane ${name}`);
    this.lanes.forEach((lane, at) => list.append(element("option", "", lane.name, { value: at })));
    list.value = String(this.pair[place]);
    box.append(list);
    return box;
  }

  /** One lane's rows of the table that has those of all, or the rows of B less those of A. */
  table(view) {
    const all = super.table(view);
    if (!all) return all;
    const [rows, columns] = [all.shape[0] / this.lanes.length, all.shape[1]];
    const [a, b] = this.pair.map((lane) => all.data.subarray(lane * rows * columns, (lane + 1) * rows * columns));
    const data = { first: () => a, second: () => b, difference: () => b.map((value, at) => value - a[at]) }[view.of]();
    return { shape: [rows, columns], data };
  }

  /** Two lanes share their limits, so that equal colours are equal numbers; a difference has its own. */
  limited(view) {
    return view.of === "difference" ? "difference" : view.channel;
  }
}

const MOST = 12; // samples a lane

export class LaneSamples {
  /**
   * @param {import("./panel.js").PanelFrame} frame
   * @param {import("../board.js").Board} board
   */
  constructor(frame, board) {
    this.frame = frame;
    this.board = board;
    this.box = frame.body.appendChild(element("div", "ls-lanes"));
  }

  setPanel(panel) {
    this.figure = panel.figure;
    this.frame.setPanel(panel);
    this.frame.addHelp();
    this.clear();
  }

  clear() {
    this.lists = this.figure.layout.meta.lanes.map(() => {
      const list = element("div", "ls-samples");
      list.tabIndex = 0;
      return list;
    });
    this.build();
  }

  /** The columns, their heads in the colours of the lanes. */
  build() {
    const { lanes } = repaint(this.figure, this.board.theme.name).layout.meta;
    const columns = lanes.map(({ name, colour }, at) => {
      const column = element("section", "ls-lane-column");
      const head = element("div", "ls-lane-name", name);
      head.style.borderColor = colour;
      this.lists[at].setAttribute("aria-label", `Samples, ${name}`);
      column.append(head, this.lists[at]);
      return column;
    });
    this.box.replaceChildren(...columns);
  }

  add(samples) {
    for (const sample of samples) {
      const list = this.lists[sample.lane - 1];
      if (!list) continue;
      list.prepend(card(sample));
      while (list.children.length > MOST) list.lastChild.remove();
    }
  }
}
