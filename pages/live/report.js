// The way back to the page: tells it, once a change, that the stream is no longer what it was rendered with.

const SETTLED = 250; // ms that a difference must last: the page may already know and the stream be on its way

/** What a page is rendered with, as one comparable text. */
// `at` counts for a page that shows one moment of a run: step and stage where it stands, nothing while it runs.
const spelled = ({ run, state, version, library, at }) => JSON.stringify({ run, state, version, library, at });

export class Reporter {
  told = null; // what the page was told last
  telling = null; // what it is about to be told
  shown = {}; // what the page says that it was rendered with
  onChange = null;

  /** Compare the stream's newest header with the page. */
  compare({ run = null, state, settings, step = 0, stage = 0, library = 0 }) {
    if (!this.onChange) return;
    const where = state === "running" ? "" : `${step}/${stage}`;
    const at = this.shown.at === undefined ? undefined : where;
    const key = spelled({ run, state, version: settings?.version ?? 0, library, at });
    const rendered = key === spelled(this.shown);
    if (rendered) this.told = key;
    if (key === this.telling && !rendered) return;
    this.forget();
    if (key === this.told) return;
    this.telling = key;
    this.timer = setTimeout(() => {
      this.telling = null;
      this.told = key;
      this.onChange?.(JSON.parse(key));
    }, SETTLED);
  }

  forget() {
    clearTimeout(this.timer);
    this.telling = null;
  }
}
