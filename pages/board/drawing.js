// When the board draws: text at once, charts within a share of the time, so that the page stays quick.
import { FIRST_EDGE, nextEdge } from "./charts/curves.js";

/** @typedef {import("./board.js").Board} Board */
/** @typedef {import("./panels/panel_set.js").Built} Built */

const SHARE = 0.5; // of one core, at most
const PAST_SHARE = 0.35; // while an earlier moment is on show: it comes on top, and the run trains on beside it
const CALM = 1000; // ms between two drawings while the page around is still on its way
const LEAST_PAUSE = 50; // ms between two drawings of which the first was not enough

/**
 * Which of the panels that are due is drawn now: the main one each time, and beside it the one other that has waited
 * longest, if it has waited for its rest. Nothing beside it where the main one alone is wanted.
 * @param {Pick<Built, "chart" | "rest">[]} due
 * @param {number} now ms
 * @param {boolean} alone
 */
export function nextToDraw(due, now, alone) {
  const oldestFirst = [...due].sort((one, other) => one.chart.drawn - other.chart.drawn);
  const main = oldestFirst.find(({ rest }) => !rest);
  const other = alone ? undefined : oldestFirst.find(({ chart, rest }) => rest && now - chart.drawn >= rest);
  return { main, other };
}

export class Drawing {
  edge = FIRST_EDGE; // steps: the right end of the axes of all charts
  restUntil = 0; // ms: no chart is drawn before
  frame = null; // that is asked for
  timer = null;

  /** @param {Board} board */
  constructor(board) {
    this.board = board;
  }

  /** Mark the charts fed by a channel, or all of them, to be drawn again. */
  touch(channel) {
    for (const { chart } of this.board.panels.all.values()) {
      if (!channel || chart.feeds?.(channel)) chart.dirty = true;
    }
    this.request();
  }

  /** Draw at the next chance, and all charts without a rest. */
  hurry() {
    this.restUntil = 0;
    this.touch();
  }

  /** Draw at the next frame of the page. */
  request() {
    if (this.frame || !this.board.node.isConnected || document.hidden) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const { board } = this;
    const { data, panels } = board;
    if (!board.node.isConnected || data.run === undefined) return; // nothing has come yet
    board.showText();
    if (!panels.ready) return;
    this.grow();
    const samples = panels.get("samples")?.chart;
    if (samples && data.samples.length) samples.add(data.samples.splice(0));
    const now = performance.now();
    if (now >= this.restUntil) this.drawCharts(now);
    else setTimeout(() => this.request(), this.restUntil - now);
  }

  /** The main chart each time; beside it the next that is not built yet, or another that is due. */
  drawCharts(start) {
    const { panels, options, scrubber } = this.board;
    const { calm = false, onReady } = options ?? {};
    const due = [...panels.all.values()].filter(
      ({ chart, inView }) => chart.render && chart.figure && chart.dirty && inView,
    );
    const first = due.some(({ chart, rest }) => !rest && !chart.drawn); // the first curve comes before all else
    const build = first || calm ? null : panels.waiting.shift();
    const { main, other } = nextToDraw(due, start, first || calm || Boolean(build));
    for (const panel of [main, other]) if (panel?.chart.render()) panel.chart.drawn = performance.now();
    build?.();
    if (first && main.chart.drawn) requestAnimationFrame(() => onReady?.());
    const spent = performance.now() - start;
    const share = scrubber?.past ? PAST_SHARE : SHARE;
    this.restUntil = build ? 0 : start + Math.max(spent / share, calm ? CALM : 0);
    clearTimeout(this.timer);
    const more = panels.waiting.length || due.some(({ chart }) => chart.dirty);
    if (more) this.timer = setTimeout(() => this.request(), build ? 0 : Math.max(LEAST_PAUSE, spent));
  }

  /** The axes begin anew with another run. */
  begin() {
    this.edge = FIRST_EDGE;
    this.grow();
    this.board.loadPrevious();
  }

  /** The right end of the axes follows the run. */
  grow() {
    const { step = 0, max_steps: most = 0 } = this.board.data.header;
    const edge = nextEdge(this.edge, step, most);
    if (edge === this.edge) return;
    this.edge = edge;
    this.board.loadPrevious();
    this.touch();
  }
}
