"""The operator and its fused steps: kernels for CPUs and GPUs, compiled at first use."""

from __future__ import annotations

import torch

from mambair_cli.errors import BackendError

# Not every kernel for GPUs compiles with the Triton that comes with torch 2.6.
LEAST_TORCH = (2, 7)


def check_torch(version: str) -> None:
    """Check that PyTorch is new enough for whatever runs networks.

    Args:
        version: Such as `2.13.0+cpu`.

    Raises:
        BackendError: It is too old.
    """
    if tuple(int(number) for number in version.split(".")[:2]) < LEAST_TORCH:
        least = ".".join(map(str, LEAST_TORCH))
        raise BackendError(
            f"torch {version} is too old: mambair needs {least} or a newer one",
            f'install one into the same environment: pip install --upgrade "torch>={least}"',
        )


# Here, where every network and every computation comes by, and not where it fails in other words.
check_torch(torch.__version__)
