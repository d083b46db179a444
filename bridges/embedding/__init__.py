"""Embeddings of face images."""
