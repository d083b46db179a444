"""Arc2Face: images from ArcFace embeddings, by weights that their authors publish."""
