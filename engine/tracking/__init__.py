"""Tracking: loops of other people recorded, and runs of other processes followed."""
