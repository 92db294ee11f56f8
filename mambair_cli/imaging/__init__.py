"""Image files, their metadata, colour, resizing, and the way to tensors and back."""
