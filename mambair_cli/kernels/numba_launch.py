"""Between PyTorch and Numba kernels: flat views, padded parameters, launch on torch's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mambair_cli.kernels.forks import is_forked, kernel_lock
from mambair_cli.kernels.numba_cache import Kernel
from mambair_cli.kernels.parameters import made_once, refuse_export
from mambair_cli.kernels.vector import LANES

# What kernels read and write, whatever torch makes by default.
FLAT: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
# Numba's thread pools that may be entered after a fork; OpenMP's ends the process.
FORK_SAFE = ("tbb", "workqueue")


def flat(tensor: Tensor) -> NDArray[np.float32]:
    """View a float32 CPU tensor as a flat array; copy only what is not contiguous."""
    refuse_export("numba")
    return tensor.detach().contiguous().view(-1).numpy()


def launch(kernel: Kernel, *arguments: Any) -> None:
    """Run a kernel on no more threads than torch was given; on one after a fork."""
    if is_forked() and numba.threading_layer() not in FORK_SAFE:
        kernel.serial(*arguments)
        return
    with kernel_lock():
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        kernel.parallel(*arguments)


def padded(
    parameter: Tensor, arrange: Callable[[Tensor], Tensor] | None = None
) -> NDArray[np.float32]:
    """Lay a parameter out for a kernel, once for a frozen one (`parameters.made_once`).

    Args:
        parameter: Any shape and float dtype.
        arrange: Transposes or scales it first; the same function at every call for one parameter.

    Returns:
        Float32, the last axis padded with zeros to a multiple of `LANES`.
    """
    refuse_export("numba")
    return made_once(parameter, lambda source: _lay_out(source, arrange))


def _lay_out(parameter: Tensor, arrange: Callable[[Tensor], Tensor] | None) -> NDArray[np.float32]:
    arranged = parameter.detach().float()
    if arrange is not None:
        arranged = arrange(arranged)
    missing = -arranged.shape[-1] % LANES
    return functional.pad(arranged, (0, missing)).contiguous().numpy()


def tasks_for(rows: int) -> int:
    """Choose how many tasks share `rows` independent rows: a few for each thread."""
    return min(rows, 4 * torch.get_num_threads())
