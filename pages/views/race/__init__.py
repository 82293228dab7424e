"""Views of the page Race."""
