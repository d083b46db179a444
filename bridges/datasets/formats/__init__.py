"""The formats in which the field passes images around; a module each."""
