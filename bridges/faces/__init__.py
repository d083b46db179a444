"""A parametric face world: identities, captures, and the renderer of both."""
