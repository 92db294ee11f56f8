"""How much memory there is, how much a network takes for each pixel, and what tiles follow."""
