"""The fused steps around the scan: what a block does beside it, on a CPU and on a GPU."""
