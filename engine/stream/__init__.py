"""The stream: what the training thread measures, on its way to whoever looks."""
