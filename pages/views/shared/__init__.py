"""Views that several pages place."""
