"""Measures of how well a recogniser tells people apart."""
