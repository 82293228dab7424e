"""The nine stages of a step: a module for what each one shows."""
