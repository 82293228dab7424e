"""Storage: the run folder, written while a run trains, read back, listed, deleted and exported."""
