"""Which images a request names, and what of folders is left out."""
