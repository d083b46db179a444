"""Devices: rows spread over several, processes that find each other, JAX itself."""
