"""Runs: a run and its thread, forks, races, and the manager that holds them."""
