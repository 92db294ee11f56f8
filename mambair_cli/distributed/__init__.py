"""Batches on a Ray cluster, and files in object stores."""
