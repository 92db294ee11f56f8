"""Measuring restorations: degradations, metrics, data sets, benchmarks."""
