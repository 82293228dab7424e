"""Views of the page Embeddings."""
