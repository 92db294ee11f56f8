"""The device that a network runs on: precision, half weights, transfers, CUDA graphs."""
