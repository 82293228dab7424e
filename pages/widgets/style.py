"""The style sheet of all pages, for what Streamlit's theme has no setting for."""

from pages.charts.palette import colours
from pages.widgets.icon_button import NAME_STYLE
from pages.widgets.over import OVER_STYLE
from pages.widgets.tabs import TAB_STYLE

LIGHT, DARK = colours("light"), colours("dark")
ON_FILL = f"light-dark({LIGHT['background']}, {DARK['background']})"
"""Words on a button filled with the theme's first colour: Streamlit's white cannot be read on the dark stage's."""
QUIET = f"light-dark({LIGHT['baseline']}, {DARK['baseline']})"
"""Captions: Streamlit's are too faint on light paper."""

OWN_STYLE = """<style>
.ls-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.stElementContainer:has(> .stHtml > .ls-unseen) { position: absolute; } /* it takes no gap above the page */
[class*="st-key-board-"] { opacity: 1 !important; } /* it is live: never faded as what waits for the server is */
[data-testid="stMainBlockContainer"] { padding-left: 1rem; padding-right: 1rem; max-width: none; }
[data-testid^="stBaseButton-primary"]:not(:disabled) :is(p, span) { color: ON_FILL; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { opacity: 1; color: QUIET; }
button[aria-label^="Help"] { min-width: 24px; min-height: 24px; justify-content: center; }
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation-duration: 0.01ms !important; transition-duration: 0.01ms !important; }
}
[data-testid="stButton"] [aria-label^="Shortcut"] { display: none; }
[data-testid="stMain"]:focus-visible::before { box-shadow: none; } /* it is the whole page: a ring tells nothing */
.st-key-controls [data-testid="stVerticalBlock"], .st-key-controls { gap: 0.45rem; }
.st-key-verbs > div, .st-key-sampling > div, .st-key-share > div, .st-key-lr_row > div { flex: 1 1 0; min-width: 0; }
.st-key-verbs button, .st-key-sampling button, .st-key-share button { width: 100%; min-width: 0; }
.st-key-controls .st-key-verbs button { padding: 0; }
.st-key-verbs :is([class*="st-key-sign_"], .stElementContainer, .stButton) { width: 100%; }
.st-key-verbs :is(.stTooltipIcon, .stTooltipHoverTarget) { width: 100%; }
.st-key-verbs button p { font-size: 0.85rem; overflow: visible; }
.st-key-line_verbs > div { flex: 1 1 auto; } .st-key-line_verbs button { width: 100%; min-width: 2.25rem; }
.st-key-lr_row > div:has(button[kind="secondary"]) { flex: 0 0 auto; }
.st-key-controls button { padding-left: 0.25rem; padding-right: 0.25rem; }
.st-key-start > div, .st-key-scene_turn > div { flex: 1 1 0; min-width: 0; }
.st-key-scene_turn button { width: 100%; } .st-key-scene_verbs > * { flex: 1 1 100%; }
.st-key-start button { padding-left: 0; padding-right: 0; }
.st-key-scene { gap: 0.5rem; padding: 0.7rem; border-color: var(--st-primary-color, #4C9BD0); }
.st-key-scene [data-testid="stText"], .st-key-scene_line [data-testid="stText"] { font-size: 1rem; line-height: 1.4; }
.st-key-scene_head button { min-height: 28px; min-width: 28px; padding: 0; }
.st-key-scene_line { padding: 0.3rem 0.7rem; margin-bottom: 0.4rem; border-color: var(--st-primary-color, #4C9BD0); }
.st-key-share button { padding-left: 0; padding-right: 0; } .st-key-share button p { font-size: 0.8rem; }
.st-key-controls input { font-variant-numeric: tabular-nums; }
/* Why a number is refused, in sight: Streamlit tells it to screen readers and to a mouse that waits. */
[data-testid="stNumberInputContainer"]:has([role="alert"]) { height: auto; flex-wrap: wrap; }
[data-testid="stNumberInputContainer"] [role="alert"] { position: static; flex: 0 0 100%; height: auto; clip: auto;
  margin: 0; padding: 0 0.6rem 0.4rem; white-space: normal; font-size: 0.85rem; line-height: 1.25; }
[data-testid="stNumberInput"]:has([role="alert"]) { --ls-hint: hidden; } /* why by a property: see board.css */
[data-testid="InputInstructions"] { visibility: var(--ls-hint, inherit); }
.st-key-controls [data-testid="stColumn"]:has([role="alert"]) { min-width: 100%; }
[data-testid="stLayoutWrapper"]:has(> .st-key-new_run_foot) { position: sticky; bottom: -1rem; z-index: 1;
  padding: 0.4rem 0; backdrop-filter: blur(12px); } /* in sight, however much stands above it */
.st-key-forms [data-testid="stColumn"] { min-width: 9rem; }
.stElementContainer:has(> .stFullScreenFrame .stPlotlyChart), .st-key-forms .stElementContainer { overflow: visible; }
.st-key-lanes .stColumn { min-width: 5rem; } .st-key-lanes .stColumn:first-child { min-width: 7.8rem; }
.st-key-lanes .stHorizontalBlock { row-gap: 0.45rem; }
:root a:focus-visible { outline: 2px solid var(--st-primary-color, #4C9BD0); outline-offset: 2px; }
@media (min-width: 641px) { /* the board gives way, not the controls beside it */
  .stHorizontalBlock:has(> .stColumn .st-key-controls) { flex-wrap: nowrap; }
  .stColumn:has(.st-key-controls) { flex-shrink: 0; min-width: 13.5rem; }
  .stColumn:has(.st-key-controls) + .stColumn { min-width: 0; }
}
@media (max-width: 640px) { /* first what starts a run, then the board, then the other controls */
  .stHorizontalBlock:has(> .stColumn .st-key-controls) { flex-direction: column; gap: 0.45rem; }
  .stColumn:has(.st-key-controls), .stColumn:has(.st-key-controls) > div { display: contents; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-controls), .st-key-controls { display: contents; }
  .stColumn:has(.st-key-controls) + .stColumn { order: 1; width: 100%; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-more) { order: 2; }
  [data-testid="stToolbar"] > div > div { min-width: 0; } /* or the menu lies off the screen */
}
@media (hover: none) { /* there a table's tools are always on show: room for them above it */
  .stElementContainer:has([data-testid="stElementToolbar"]) { margin-top: 2.75rem; }
}
@media (pointer: coarse) { /* for a finger */
  .st-key-controls .st-key-lr_row button[kind="secondary"] { min-width: 2.5rem; }
  button[aria-label^="Help"] { min-width: 2rem; min-height: 2rem; margin: -0.5rem; justify-content: center; }
}
@media (max-width: 1159px) { /* two by two under the other controls */
  .st-key-share { flex-wrap: wrap; } .st-key-share > div { flex: 1 1 45%; }
}
.st-key-present_only { display: none; }
@media (min-width: 1160px) { /* beside the menu, at the right end of the header */
  .st-key-present_only { display: flex; }
  .st-key-share, .st-key-present_only { position: fixed; top: 0.65rem; right: 3.75rem; width: auto; z-index: 999991; }
  .st-key-share > div, .st-key-share > div:last-child { flex: 0 0 auto; width: auto; }
  .st-key-controls .st-key-share button, .st-key-present_only button {
    min-height: 2.25rem; padding: 0 0.7rem; width: auto;
  }
}
@media (min-width: 1000px) {
  [data-testid="stPopoverBody"]:has(.st-key-new_run_foot) { /* beside the controls, below the header */
    transform: none !important; left: max(15.5rem, 19vw) !important; top: 4.25rem !important;
    max-height: calc(100vh - 5rem) !important;
  }
}
</style>"""

STYLE = NAME_STYLE + TAB_STYLE + OVER_STYLE + OWN_STYLE.replace("ON_FILL", ON_FILL).replace("QUIET", QUIET)

# Streamlit measures in rem: its root's size makes all of it larger. The bar has its own sizes, to stay slim.
PRESENTER_STYLE = """<style>
html { font-size: 22.4px; --ls-bar: 52px; --ls-foot: 84px; }
[data-testid="stMainBlockContainer"] {
  padding-top: calc(var(--ls-bar) + 8px); padding-bottom: calc(var(--ls-foot) + 8px);
}
[data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0.4rem; }
:is([data-testid="stHeader"], [data-testid="stToolbar"]) { height: var(--ls-bar); min-height: var(--ls-bar); }
[data-testid="stHeaderLogo"] { display: none; }
[data-testid="stTopNav"] { height: 44px; margin: 0; padding: 0 0 0 8px; max-width: calc(100vw - 590px); }
[data-testid="stTopNav"] .rc-overflow-item > div { margin-right: 2px; }
[data-testid="stTopNavLink"] { padding: 0 5px; height: 44px; }
:is([data-testid="stTopNavLink"], .rc-overflow-item-rest) :is(p, span, div) { font-size: 18px; }
.st-key-scene [data-testid="stText"], .st-key-scene p, .st-key-scene button p { font-size: 20px; }
.st-key-scene { padding: 0.2rem 0.8rem; } .st-key-scene_turn > div { flex: 0 0 auto; }
.st-key-bar { position: fixed; z-index: 999991; top: 0; right: 52px; width: auto; height: var(--ls-bar); gap: 5px; }
.st-key-bar.st-key-bar { margin: 0; padding: 0; }
.st-key-bar button { min-height: 44px; min-width: 36px; padding: 0 7px; }
.st-key-bar button :is(p, div), .st-key-bar input { font-size: 18px; }
.st-key-bar .st-key-lr_row { width: auto; gap: 2px; }
.st-key-bar .st-key-lr_row button { min-width: 32px; padding: 0; }
.st-key-bar [data-testid="stNumberInput"] { width: 84px; }
.st-key-bar [data-testid="stNumberInput"] input { padding: 0 6px; }
.st-key-bar [data-testid="stNumberInputContainer"], .st-key-bar .react-aria-ComboBox > div { height: 44px; }
.st-key-bar [data-testid^="stNumberInputStep"], .st-key-bar [data-testid="InputInstructions"] { display: none; }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_lesson) { position: fixed; right: 16px; width: min(640px, 92vw);
  bottom: calc(var(--ls-foot) + 8px); max-height: calc(100vh - var(--ls-bar) - var(--ls-foot) - 16px); }
.st-key-over_lesson [data-testid="stText"] { font-size: 18px; overflow-y: auto;
  max-height: calc(100vh - var(--ls-bar) - var(--ls-foot) - 250px); }
.st-key-over_lesson :is([data-testid="stCaptionContainer"], button) p { font-size: 18px; line-height: 1.3; }
@media (max-width: 1100px) { .st-key-bar { position: static; flex-wrap: wrap; width: 100%; height: auto; } }
</style>"""
