"""Arithmetic on the pixels of images: colour, resizing, tensors, traces of a camera."""
