// One panel over the whole window, so that the back row sees it: `f` with the pointer or the focus in it, or its own
// button; Escape, or the same again, brings it back. A panel of the board goes to the browser's top layer, where no
// other part of the page can cover or clip it. Charts and tables of Streamlit have a button of their own for it.

const PANEL = ".ls-panel";
const FOREIGN = '[data-testid="stFullScreenFrame"]';
const FILLS = ':is(button[aria-label$="ullscreen"], [data-title$="ullscreen"])'; // it, and later the way back
const TYPED = "input:not([type=range]), textarea, select, [contenteditable=true]";

/** @type {HTMLElement | null} */
let filled = null;
/** @type {Element | null} */
let pointed = null; // what lies under the pointer

/** Let a panel of the board fill the window. */
export function fill(panel) {
  restore();
  filled = panel;
  panel.popover = "manual";
  panel.showPopover();
  panel.classList.add("ls-filled");
  told(panel);
}

/** The panel that fills the window goes back to its place. Returns whether there was one. */
export function restore() {
  if (!filled) return false;
  const panel = filled;
  filled = null;
  panel.classList.remove("ls-filled");
  panel.removeAttribute("popover"); // takes it out of the top layer
  told(panel);
  return true;
}

export function toggle(panel) {
  if (filled === panel) restore();
  else fill(panel);
}

function told(panel) {
  panel.querySelector(".ls-fill")?.setAttribute("aria-pressed", String(panel === filled));
}

/** The panel, or the chart or table of Streamlit, that somebody means: where the focus is, else the pointer. */
function meant() {
  const focus = document.activeElement === document.body ? null : document.activeElement;
  const around = (node) => node?.closest?.(`${PANEL}, ${FOREIGN}`) ?? null;
  return around(pointed) ?? around(focus);
}

addEventListener("pointerover", (event) => (pointed = /** @type {Element} */ (event.target)), true);
addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || /** @type {Element} */ (target).closest?.(TYPED)) return;
  if (key === "Escape" && restore()) event.preventDefault();
  if (key !== "f" || event.repeat) return;
  const panel = filled ?? meant();
  if (panel?.matches(PANEL)) toggle(/** @type {HTMLElement} */ (panel));
  else /** @type {HTMLElement | null} */ (panel?.querySelector(FILLS))?.click();
});
