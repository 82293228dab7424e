"""Text: where it comes from, how it is tokenized and split, and the batches drawn from it."""
