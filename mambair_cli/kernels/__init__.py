"""The operator and its fused steps: kernels for CPUs and GPUs, compiled at first use."""
