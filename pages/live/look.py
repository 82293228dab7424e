"""The page's own style sheet, where Streamlit's theme has no setting for it."""

STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-left: 1rem; padding-right: 1rem; max-width: none; }
[data-testid="stButton"] [aria-label^="Shortcut"] { display: none; }
.st-key-controls [data-testid="stVerticalBlock"], .st-key-controls { gap: 0.45rem; }
.st-key-controls button { padding-left: 0.25rem; padding-right: 0.25rem; }
.st-key-controls input { font-variant-numeric: tabular-nums; }
</style>"""

STYLE_PRESENTER = """<style>
[data-testid="stHeader"] { display: none; }
[data-testid="stMainBlockContainer"] { padding-top: 0.5rem; }
</style>"""
