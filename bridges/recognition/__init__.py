"""Training of face recognisers."""
