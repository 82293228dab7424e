"""Sweeps: the same run with many values of one knob, trained at once, and the loss that each value came to."""
