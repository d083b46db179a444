"""What trainings share: processes that work together, and loops bounded by time."""
