"""A world of parametric faces: who they are, how they are photographed, and how."""
