"""Published collections of faces, read by the layout in which each is handed out."""
