"""Commands that touch images; each is one thin module."""
