"""Analysis: a step, a model, a gradient or a text taken apart, by plain functions."""
