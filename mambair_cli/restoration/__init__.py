"""Restoring images with a network: tiles, self-ensemble, precision, memory, batches."""
