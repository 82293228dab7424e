"""Views of the page Inside: each shows one thing about the same copy of the model."""
