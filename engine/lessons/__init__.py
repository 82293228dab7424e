"""Lessons: what-if experiments, small examples and questions. Every number in them is computed, none is quoted."""
