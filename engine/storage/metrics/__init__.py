"""A run's numbers, events, samples and tables: one schema, one writer, one reader; all SQL is spoken here."""
