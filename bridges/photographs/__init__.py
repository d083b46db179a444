"""From photographs to aligned faces."""
