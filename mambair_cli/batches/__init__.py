"""Restoring many image files: inputs, jobs, names, records, the pipeline and what it tells."""
