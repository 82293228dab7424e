// The space bar belongs to the control that has the focus. Streamlit's own shortcuts spare fields, but take it from
// buttons. They listen at the document: what stops just below has reached the control, and not them. A link has no use
// for the space bar, and one that was followed to a page still has the focus there.
const CONTROLS = "button, summary, [role=button], [role=tab], [role=radio], [role=option], [role^=menuitem]";

// After a click the focus is there too, but nobody brought it there for the keyboard: where the page has a use for the
// space bar it gets it. Before the control hears of it, since some of Streamlit's let nothing pass.
const SHORTCUT = '[aria-label="Shortcut Space"]';
let clicked = null;

/** The control that an event is for. */
const controlOf = ({ target }) => target.closest?.(CONTROLS) ?? null;

addEventListener("pointerdown", (event) => (clicked = controlOf(event)), true);
addEventListener("keydown", (event) => {
  if (event.key === "Tab") clicked = null;
  const control = event.key === " " ? controlOf(event) : null;
  if (!control || control !== clicked || !document.querySelector(SHORTCUT)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  /** @type {HTMLElement} */ (event.target).blur();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: " ", code: "Space", keyCode: 32, bubbles: true }));
}, true);
document.documentElement.addEventListener("keydown", (event) => {
  if (event.key === " " && controlOf(event)) event.stopPropagation();
});
