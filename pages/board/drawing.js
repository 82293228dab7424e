// When the board draws: everything of one moment in one go, within a share of the time, so that the page stays quick.
// On a slow machine it draws less often, never one panel after another.
/** @typedef {import("./board.js").Board} Board */

const SHARE = 0.5; // of one core, at most
const PAST_SHARE = 0.35; // while an earlier moment is on show: it comes on top, and the run trains on beside it
const CALM = 1000; // ms between two drawings while the page around is still on its way
const LEAST_PAUSE = 50; // ms between two drawings of which the first was not enough

export class Drawing {
  restUntil = 0; // ms: no chart is drawn before
  frame = null; // that is asked for
  timer = null;

  /** @param {Board} board */
  constructor(board) {
    this.board = board;
  }

  /** Mark all charts to be drawn again. */
  touchAll() {
    for (const { chart } of this.board.panels.all.values()) chart.dirty = true;
  }

  /** Draw all charts again at the next chance. */
  touch() {
    this.touchAll();
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
    if (!board.node.isConnected || board.data.run === undefined) return; // nothing has come yet
    const now = performance.now();
    board.showText();
    if (now < this.restUntil) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.request(), this.restUntil - now);
    } else this.drawMoment(now);
  }

  /** Header, curves, tables and samples of one moment. Charts that are still to be built come one each time. */
  drawMoment(start) {
    const { data, panels, options, scrubber } = this.board;
    const { calm = false, onReady } = options ?? {};
    const moved = !scrubber?.past && data.advance();
    if (moved) this.board.showText();
    if (!panels.ready) return;
    if (moved) this.touchAll();
    this.grow();
    const shown = [...panels.all.values()];
    panels.get("samples")?.chart.add(data.takeSamples());
    const due = shown.filter(({ chart, inView }) => chart.render && chart.figure && chart.dirty && inView);
    const first = due.find(({ main, chart }) => main && !chart.drawn); // the first curve comes before all else
    const build = first || calm ? null : panels.waiting.shift();
    for (const { chart } of first ? [first] : due) if (chart.render()) chart.drawn = performance.now();
    build?.();
    if (first?.chart.drawn) requestAnimationFrame(() => onReady?.());
    const spent = performance.now() - start;
    const share = scrubber?.past ? PAST_SHARE : SHARE;
    this.restUntil = build ? 0 : start + Math.max(spent / share, calm ? CALM : 0);
    clearTimeout(this.timer);
    const more = panels.waiting.length || due.some(({ chart }) => chart.dirty);
    if (more) this.timer = setTimeout(() => this.request(), build ? 0 : Math.max(LEAST_PAUSE, spent));
  }

  /** The axes begin anew with another run. */
  begin() {
    this.board.axis.begin();
    this.grow();
    this.board.loadPrevious();
  }

  /** The right end of the axes follows the run. */
  grow() {
    const { axis, data } = this.board;
    if (!axis.grow(data.moment, data.header.max_steps ?? 0)) return;
    this.board.loadPrevious();
    this.touchAll();
  }
}
