"""Nearest neighbours and repulsion between all pairs of unit rows, in tiles."""
