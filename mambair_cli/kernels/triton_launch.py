"""Between PyTorch and Triton kernels: the current device, and parameters as kernels read them."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import torch
from torch import Tensor

from mambair_cli.disk import refusal, temporary_folder
from mambair_cli.errors import BackendError
from mambair_cli.kernels.parameters import made_once, refuse_export

GPUS = ("cuda", "xpu")


def find_room() -> None:
    """Have Triton keep its kernels under the temporary directory where it cannot beside a home.

    To be called before Triton is imported. Its own settings, `TRITON_CACHE_DIR` and `TRITON_HOME`,
    keep their meaning.
    """
    if not {"TRITON_CACHE_DIR", "TRITON_HOME"}.isdisjoint(os.environ):
        return
    usual = Path("~/.triton/cache")
    with contextlib.suppress(RuntimeError):  # no home
        usual = usual.expanduser()
    if not usual.is_absolute() or refusal(usual) is not None:
        other = temporary_folder()
        if other is not None:
            os.environ["TRITON_CACHE_DIR"] = str(other / "triton")


def running_on(device: torch.device) -> AbstractContextManager[object]:
    """Have kernels launched on a device in this context: Triton takes the current one."""
    if device.type in GPUS:
        here: AbstractContextManager[object] = torch.get_device_module(device).device(device)
        return here
    return nullcontext()


def launch(
    kernel: Any, grid: tuple[int, ...], device: torch.device, *arguments: object, **constants: int
) -> None:
    """Launch a kernel on a device, without waiting for it; the first launch compiles it.

    Raises:
        BackendError: It cannot be compiled, or the device cannot hold it.
        RuntimeError: Memory is short, or the device is lost.
    """
    refuse_export("triton")
    try:
        with running_on(device):
            kernel[grid](*arguments, **constants)
    except _compilation_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"a kernel of scan backend 'triton' cannot be compiled for {device}: "
            f"{type(error).__name__}: {reason}",
            "use --scan torch, which needs no compiler, or see what runs with: mambair doctor",
        ) from error


def _compilation_errors() -> tuple[type[Exception], ...]:
    """List what a launch raises where the kernel does not get as far as the device."""
    from triton.errors import TritonError

    return TritonError, OSError, SubprocessError, AssertionError


def channels_last(parameter: Tensor) -> Tensor:
    """Return a parameter `(k d)` or `(k d x)` in float32, the latter as `(k x d)`."""
    return made_once(parameter, _channels_last)


def _channels_last(parameter: Tensor) -> Tensor:
    arranged = parameter.detach().float()
    return (arranged.transpose(1, 2) if arranged.dim() == 3 else arranged).contiguous()
