"""How much memory there is, and how much a network takes for each pixel."""
