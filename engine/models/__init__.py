"""The models: one file each, which says all that the rest needs to know of it. `registry` finds them by their names."""
