"""Lessons: experiments, small examples and questions, each one really computed."""
