"""A run as one HTML file that replays it without a network."""
