"""Pictures of what was found: drawn once, where panels are fed by a run."""
