"""From the space of one recogniser to that of another."""
