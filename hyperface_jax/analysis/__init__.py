"""What is measured of packings and of labelled embeddings."""
