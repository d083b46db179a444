"""Commands of the packing core; each is one thin module."""
