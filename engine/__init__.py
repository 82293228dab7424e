"""Loopscope's engine: train small models live, without knowing who is watching."""
