"""The whole chain in one call: gallery to report."""
