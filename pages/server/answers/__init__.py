"""What the audience can send: an answer to an open question."""
