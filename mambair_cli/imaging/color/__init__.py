"""What the values of an image mean: read from every format, carried to every other."""
