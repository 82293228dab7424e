// The way back to the page: reports that the stream is no longer what the page was rendered with, until it has been
// rendered with that. A page that is drawn while a single step is made may never see the stream pass through "running".

const SETTLED = 250; // ms that a difference must last: the page may already know and the stream be on its way
const PATIENCE = 8000; // ms at the most between two reports of the same, to a page that stays as it is

/**
 * What a page is rendered with. `at` counts for a page that shows one moment of a run: step and stage where it stands,
 * nothing while it runs; `lesson` for one that shows where a lesson is.
 * @typedef {{run: string | null, state: string, version: number, library: number, trouble?: boolean,
 *   at?: string, lesson?: number}} Shown
 */

/** @param {Partial<Shown>} shown as one comparable text */
const keyOf = ({ run, state, version, library, trouble = false, at, lesson }) =>
  JSON.stringify({ run, state, version, library, trouble, at, lesson });

export class Reporter {
  reported = null; // since the page was drawn last
  pending = null; // what is about to be reported
  last = null; // what was reported last, ever
  wait = SETTLED; // before the same is reported again
  /** @type {Partial<Shown>} */
  shown = {}; // what the page says that it was rendered with
  /** @type {((shown: Shown) => void) | null} */
  onChange = null;

  /** The page has been drawn, with `shown`. */
  drawn(shown, onChange) {
    this.shown = shown;
    this.onChange = onChange;
    this.reported = null;
  }

  /**
   * Compare the stream's newest header with the page.
   * @param {Record<string, any>} header
   */
  compare({ run = null, state, settings, step = 0, stage = 0, library = 0, trouble, lesson = 0 }) {
    if (!this.onChange) return;
    const where = state === "running" ? "" : `${step}/${stage}`;
    const at = this.shown.at === undefined ? undefined : where;
    const scene = this.shown.lesson === undefined ? undefined : lesson;
    const key = keyOf({ run, state, version: settings?.version ?? 0, library, trouble, at, lesson: scene });
    if (key === keyOf(this.shown)) {
      this.forget();
      this.last = null;
      return;
    }
    if (key === this.pending || key === this.reported) return;
    this.forget();
    this.pending = key;
    const again = key === this.last;
    this.timer = setTimeout(() => {
      this.pending = null;
      this.wait = again ? Math.min(2 * this.wait, PATIENCE) : 2 * SETTLED;
      this.reported = this.last = key;
      this.onChange?.(JSON.parse(key));
    }, again ? this.wait : SETTLED);
  }

  /** Report nothing that has not been reported yet. */
  forget() {
    clearTimeout(this.timer);
    this.pending = null;
  }
}
