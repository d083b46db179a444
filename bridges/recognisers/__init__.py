"""Recognisers in use: images in, unit embeddings out."""
