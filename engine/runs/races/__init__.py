"""Races: several runs from one start, trained in turn on one thread, and what is seen of them together."""
