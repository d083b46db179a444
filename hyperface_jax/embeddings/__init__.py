"""Embedding files: reading, writing and checking rows, labels and metadata."""
