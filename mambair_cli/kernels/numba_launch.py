"""Between PyTorch and CPU kernels: flat views, padded parameters, launch on torch's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mambair_cli.errors import BackendError
from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.parameters import made_once, refuse_export
from mambair_cli.kernels.threads import in_parallel

LANES = target().instruction_set.lanes
# What kernels read and write, whatever torch makes by default.
FLAT: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
NOTHING = torch.empty(0, **FLAT)


def flat(tensor: Tensor) -> Tensor:
    """Return a tensor of the CPU as kernels read it; copy only what is not contiguous.

    Raises:
        BackendError: The tensor is on another device.
    """
    if not tensor.is_cpu:
        raise BackendError(
            f"scan backend 'numba' runs on a CPU, and was given a tensor on {tensor.device}",
            "choose the device when the model is loaded",
        )
    return tensor.detach().contiguous()


def launch(kernel: Kernel, tasks: int, *arguments: Tensor | int) -> None:
    """Run the tasks of a kernel on as many threads as this thread's torch uses.

    Args:
        kernel: Takes the arguments, the first of its tasks and the one after its last.
        tasks: How many there are.
        arguments: Tensors from `flat`, `padded` or `scratch`, and integers. Of tensors a kernel
            gets the address, 0 of an empty one; it is compiled for what they hold, float32 or
            bfloat16.

    Raises:
        BackendError: The network is being exported: its tensors have no values.
    """
    refuse_export("numba")
    numbers, shorts = [], []
    for i, each in enumerate(arguments):
        if isinstance(each, int):
            numbers.append(each)
            continue
        numbers.append(each.data_ptr())
        if each.dtype == torch.bfloat16:
            shorts.append(i)
    in_parallel(kernel.entry_for(tuple(shorts)), numbers, tasks)


def scratch(tasks: int, values: int) -> Tensor:
    """Take memory that tasks of a kernel work in: `values` for each, not initialised."""
    return torch.empty(tasks * values, **FLAT)


def padded(parameter: Tensor, arrange: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Lay a parameter out for a kernel, once for a frozen one (`parameters.made_once`).

    Args:
        parameter: Any shape and float dtype.
        arrange: Transposes or scales it first; the same function at every call for one parameter.

    Returns:
        Float32, the last axis padded with zeros to a multiple of `LANES`.
    """
    return made_once(parameter, lambda source: _lay_out(source, arrange))


def _lay_out(parameter: Tensor, arrange: Callable[[Tensor], Tensor] | None) -> Tensor:
    arranged = parameter.detach().float()
    if arrange is not None:
        arranged = arrange(arranged)
    missing = -arranged.shape[-1] % LANES
    return functional.pad(arranged, (0, missing)).contiguous()


def tasks_for(rows: int) -> int:
    """Choose how many tasks share `rows` independent rows: a few for each thread."""
    return min(rows, 4 * torch.get_num_threads())
