"""Training: one optimizer step in nine stages, and what is measured in it."""
