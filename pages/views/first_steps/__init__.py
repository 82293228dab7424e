"""Views of the page First steps."""
