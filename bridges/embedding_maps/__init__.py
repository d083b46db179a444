"""Linear maps from the embeddings of one recogniser to those of another."""
