"""Views of the page Step."""
