"""The table of backends, the choice among them, and the scan that the networks call."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from mambair_cli.errors import BackendError
from mambair_cli.kernels import threads  # noqa: F401 - whatever backend runs, processes fork
from mambair_cli.kernels.block.ops import PLAIN, Ops

Run = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


# No lambdas in a backend: a network that has one can be pickled.
def _plain_steps() -> Ops:
    return PLAIN


@dataclass(frozen=True)
class Backend:
    """One implementation of the selective scan of an image.

    Attributes:
        name: What `--scan` calls it.
        refuses: Returns the reason why it cannot run on a device, or None when it can.
        run: The operator; arguments as `selective_scan_2d`.
        steps: Returns the steps around the scan that run on the same kind of kernels.
        by_name_only: Types of devices where `auto` passes over it, though it runs.
    """

    name: str
    refuses: Callable[[torch.device], str | None]
    run: Run
    steps: Callable[[], Ops] = _plain_steps
    by_name_only: tuple[str, ...] = ()


def _triton_refuses(device: torch.device) -> str | None:
    from mambair_cli.kernels import triton_trial
    from mambair_cli.kernels.scan import triton_gpu

    reason = triton_gpu.refuses(device)
    # Triton's interpreter needs none of what is tried there.
    if reason is None and device.type != "cpu":
        reason = triton_trial.failure_on(device)
    return reason


def _triton_run(*arguments: Tensor) -> Tensor:
    from mambair_cli.kernels.scan import triton_gpu

    return triton_gpu.selective_scan_2d(*arguments)


def _triton_steps() -> Ops:
    from mambair_cli.kernels.block import ops_gpu

    return ops_gpu.FUSED


def _mamba_ssm_refuses(device: torch.device) -> str | None:
    from mambair_cli.kernels.scan import mamba_ssm_cuda

    return mamba_ssm_cuda.refuses(device)


def _mamba_ssm_run(*arguments: Tensor) -> Tensor:
    from mambair_cli.kernels.scan import mamba_ssm_cuda

    return mamba_ssm_cuda.selective_scan_2d(*arguments)


def _numba_refuses(device: torch.device) -> str | None:
    if device.type not in ("cpu", "meta"):
        return f"it runs on a CPU, not on {device.type}"
    if find_spec("numba") is None:
        return "numba cannot be imported (no module named 'numba')"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set"
    return _kernels_refuse()


@cache
def _kernels_refuse() -> str | None:
    """Load the scan, or compile it: there is no other way to know that kernels run."""
    try:
        from mambair_cli.kernels.scan import numba_cpu

        numba_cpu.FORWARD.entry  # noqa: B018 - which is made when it is asked for
    except (ImportError, OSError) as error:
        return f"numba cannot be imported ({error})"
    except (BackendError, RuntimeError) as error:
        return " ".join(str(error).split())
    return None


def _numba_run(*arguments: Tensor) -> Tensor:
    from mambair_cli.kernels.scan import numba_cpu

    return numba_cpu.selective_scan_2d(*arguments)


def _numba_steps() -> Ops:
    from mambair_cli.kernels.block import ops_cpu

    return ops_cpu.FUSED


def _never_refuses(_device: torch.device) -> None:
    return None


def _torch_run(*arguments: Tensor) -> Tensor:
    from mambair_cli.kernels.scan import torch_chunked

    return torch_chunked.selective_scan_2d(*arguments)


def _reference_run(*arguments: Tensor) -> Tensor:
    from mambair_cli.kernels.scan import reference

    return reference.selective_scan_2d(*arguments)


# On a CPU it is Triton's interpreter that runs: a proof, not a way to compute.
TRITON = Backend("triton", _triton_refuses, _triton_run, _triton_steps, by_name_only=("cpu",))
MAMBA_SSM = Backend("mamba-ssm", _mamba_ssm_refuses, _mamba_ssm_run)
NUMBA = Backend("numba", _numba_refuses, _numba_run, _numba_steps)
TORCH = Backend("torch", _never_refuses, _torch_run)
REFERENCE = Backend("reference", _never_refuses, _reference_run)
BACKENDS = (TRITON, MAMBA_SSM, NUMBA, TORCH, REFERENCE)


def select(name: str, device: torch.device) -> Backend:
    """Choose a backend.

    Args:
        name: `auto` for the first backend that does not refuse, or a backend's name.
        device: Where the tensors will be.

    Returns:
        The backend.

    Raises:
        BackendError: The name is unknown, or the named backend refuses; the message says why.
    """
    if name == "auto":
        # One after the other: the last question of some is a slow import.
        return next(
            backend
            for backend in BACKENDS
            if device.type not in backend.by_name_only and backend.refuses(device) is None
        )
    backend = next((backend for backend in BACKENDS if backend.name == name), None)
    if backend is None:
        raise BackendError(
            f"unknown scan backend {name!r}",
            "choose one of: " + ", ".join(["auto", *(backend.name for backend in BACKENDS)]),
        )
    if reason := backend.refuses(device):
        raise BackendError(
            f"scan backend {name!r} cannot run here: {reason}",
            "use --scan auto, or see what runs here with: mambair doctor",
        )
    return backend


def selective_scan_2d(
    u: Tensor,
    projected: Tensor,
    step_weight: Tensor,
    step_bias: Tensor,
    A: Tensor,
    D: Tensor,
    *,
    backend: Backend,
) -> Tensor:
    """Scan an image in `k` directions and sum the results (paper, section 3.5).

    The directions are: along rows, along columns, and both reversed; or only the first of them,
    with which an image of one row is a sequence in any order (MambaIRv2). For each of them the step
    is `softplus(step_weight raw + step_bias)`, the recurrence that of `reference.selective_scan`.

    Args:
        u: Input, channels last, `(b h w d)`.
        projected: For each direction the step inputs, B and C of each pixel, `(b h w k*(r+2n))`.
        step_weight: Step projection, `(k d r)`.
        step_bias: Its bias, `(k d)`.
        A: Diagonal state matrix, negative, `(k d n)`.
        D: Skip weight, `(k d)`.
        backend: Which implementation runs.

    Returns:
        `y`, `(b h w d)`, float32 (or float64 where the backend computes in it); or parts of it,
        `(p b h w d)`, for whoever reads them to add up.
    """
    return backend.run(u, projected, step_weight, step_bias, A, D)
