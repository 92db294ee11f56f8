"""Writing image files, whole or not at all, a module for each format."""
