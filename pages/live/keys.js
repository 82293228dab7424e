// The space bar belongs to the control that has the focus. Streamlit's own shortcuts spare fields, but take it from
// buttons. They listen at the document: what stops just below has reached the control, and not them. A link has no use
// for the space bar, and one that was followed to a page still has the focus there.
const CONTROLS = "button, summary, [role=button], [role=tab], [role=radio], [role=option], [role^=menuitem]";

// After a click the focus is there too, but it was not brought there for the keyboard: the control lets go of it.
let clicked = null;

addEventListener("pointerdown", ({ target }) => (clicked = target.closest?.(CONTROLS) ?? null), true);
document.documentElement.addEventListener("keydown", (event) => {
  if (event.key === "Tab") clicked = null;
  const control = event.key === " " && event.target.closest(CONTROLS);
  if (!control) return;
  if (control === clicked) event.target.blur();
  else event.stopPropagation();
});
