"""Weights files: the catalogue of published models, reading, detection, conversion, loading."""
