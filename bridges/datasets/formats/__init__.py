"""Formats of image datasets that hold many images in few files; both ways."""
