// The way back to the page: tells it that the stream is no longer what it was rendered with, until it has been
// rendered with that. A page that is drawn while a single step is made may never see the stream pass through "running".

const SETTLED = 250; // ms that a difference must last: the page may already know and the stream be on its way
const PATIENCE = 8000; // ms at the most between two tellings of the same, to a page that stays as it is

/** What a page is rendered with, as one comparable text. */
// `at` counts for a page that shows one moment of a run: step and stage where it stands, nothing while it runs.
const spelled = ({ run, state, version, library, trouble = false, at }) =>
  JSON.stringify({ run, state, version, library, trouble, at });

export class Reporter {
  told = null; // what the page was told last, for as long as it has not been drawn again
  telling = null; // what it is about to be told
  last = null; // what it was told last, ever
  wait = SETTLED; // before it is told the same again
  shown = {}; // what the page says that it was rendered with
  onChange = null;

  /** The page has been drawn, with `shown`. */
  drawn(shown, onChange) {
    Object.assign(this, { shown, onChange, told: null });
  }

  /** Compare the stream's newest header with the page. */
  compare({ run = null, state, settings, step = 0, stage = 0, library = 0, trouble }) {
    if (!this.onChange) return;
    const where = state === "running" ? "" : `${step}/${stage}`;
    const at = this.shown.at === undefined ? undefined : where;
    const key = spelled({ run, state, version: settings?.version ?? 0, library, trouble, at });
    if (key === spelled(this.shown)) {
      this.forget();
      this.last = null;
      return;
    }
    if (key === this.telling || key === this.told) return;
    this.forget();
    this.telling = key;
    this.timer = setTimeout(() => {
      this.telling = null;
      this.wait = key === this.last ? Math.min(2 * this.wait, PATIENCE) : 2 * SETTLED;
      this.told = this.last = key;
      this.onChange?.(JSON.parse(key));
    }, key === this.last ? this.wait : SETTLED);
  }

  forget() {
    clearTimeout(this.timer);
    this.telling = null;
  }
}
