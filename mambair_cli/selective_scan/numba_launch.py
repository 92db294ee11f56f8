"""Between PyTorch and Numba kernels: flat views, padded parameters, launch on torch's threads."""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mambair_cli.selective_scan.vector import LANES

_one_kernel_at_a_time = threading.Lock()  # Numba's portable thread pool must not be entered twice


def flat(tensor: Tensor) -> NDArray[np.float32]:
    """Views a float32 CPU tensor as a flat array, copying only what is not contiguous."""
    return tensor.detach().contiguous().view(-1).numpy()


def launch(kernel: Any, *arguments: Any) -> None:
    """Runs a parallel kernel on no more threads than torch was given."""
    with _one_kernel_at_a_time:
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        kernel(*arguments)


def padded(parameter: Tensor) -> NDArray[np.float32]:
    """Pads the last axis with zeros to a multiple of `LANES`."""
    missing = -parameter.shape[-1] % LANES
    return functional.pad(parameter.detach().float(), (0, missing)).contiguous().numpy()


def tasks_for(rows: int) -> int:
    """Into how many tasks to split `rows` independent rows: a few for each thread."""
    return min(rows, 4 * torch.get_num_threads())
