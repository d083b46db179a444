"""Image datasets from reference embeddings: Algorithm 3 over any generator."""
