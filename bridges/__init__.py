"""Everything that touches images: faces, recognisers, generators, evaluation."""
