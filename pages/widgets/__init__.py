"""Settings as widgets, and the actions a person can take."""
