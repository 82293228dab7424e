// The space bar belongs to the control that has the focus. Streamlit's own shortcuts spare fields, but take it from
// buttons and links. They listen at the document: what stops just below has reached the control, and not them.
const CONTROLS = "a[href], button, summary, [role=button], [role=tab], [role=radio], [role=option], [role^=menuitem]";

document.documentElement.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.closest(CONTROLS)) event.stopPropagation();
});
