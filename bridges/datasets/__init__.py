"""Image datasets and verification sets on the disk."""
