"""Reading image files, a module for each format."""
