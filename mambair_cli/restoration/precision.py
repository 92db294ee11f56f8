"""Which device and which number format a network runs in, and the context that applies it.

In bf16 and fp16 the matrix products and convolutions run in that format (autocast); the weights
stay float32 in memory and the state of the selective scan is float32 always.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from mambair_cli.errors import BackendError, UsageError

Precision = Literal["fp32", "bf16", "fp16"]
PrecisionRequest = Literal["auto", "fp32", "bf16", "fp16"]

PRECISIONS: tuple[PrecisionRequest, ...] = ("auto", "fp32", "bf16", "fp16")
_DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What torch calls the instructions that multiply bfloat16: Intel and AMD, Intel's tiles, Arm.
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


def resolve_device(requested: str) -> torch.device:
    """Finds the device that was asked for; one that is missing is an error, never a silent CPU run.

    Args:
        requested: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` prefers CUDA, then MPS.

    Returns:
        The device; `cuda` without a number is the current one.

    Raises:
        UsageError: The name is not one of those.
        BackendError: The device is not here.
    """
    if requested == "auto":
        return torch.device(_best_device_type())
    kind, _, index = requested.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in requested and not index.isdecimal()):
        raise UsageError(
            f"unknown device {requested!r}", "choose one of: auto, cpu, cuda, cuda:N, mps"
        )
    if reason := _absence(kind, int(index or 0)):
        raise BackendError(
            f"device {requested!r} is not available: {reason}",
            "use --device auto or --device cpu, or see what was found with: mambair doctor",
        )
    return torch.device(requested)


def resolve_precision(requested: PrecisionRequest, device: torch.device) -> Precision:
    """Decides the number format; half precision is never chosen on a CPU unless it is asked for.

    Args:
        requested: `auto` is bf16 on a CUDA device that multiplies it natively, else fp32.
        device: Where the network runs.

    Returns:
        The format.

    Raises:
        UsageError: The name is unknown.
        BackendError: The device cannot compute in that format; the message says why.
    """
    if requested not in PRECISIONS:
        raise UsageError(
            f"unknown precision {requested!r}", "choose one of: " + ", ".join(PRECISIONS)
        )
    if requested == "auto":
        return "bf16" if device.type == "cuda" and _cuda_has_bf16(device) else "fp32"
    if reason := _refusal(requested, device):
        raise BackendError(
            f"precision {requested} cannot be used on {device.type}: {reason}",
            "use --precision auto or --precision fp32",
        )
    return requested


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which a float32 network computes in the given format.

    Args:
        precision: As returned by `resolve_precision`.
        device: Where the network runs.

    Returns:
        The context manager; a new one is needed for each use.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _DTYPES[precision])


def _best_device_type() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _absence(kind: str, index: int) -> str | None:
    if kind == "cuda":
        if not torch.cuda.is_available():
            return "torch finds no CUDA device"
        count = torch.cuda.device_count()
        return f"there are {count} CUDA devices, counted from 0" if index >= count else None
    if kind == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Apple GPU"
    return None


def _refusal(precision: Precision, device: torch.device) -> str | None:
    if device.type == "cpu":
        if precision == "fp16":
            return "CPUs have no fast half precision; bf16 is the short format for them"
        if precision == "bf16" and not _cpu_has_bf16():
            return "this CPU has neither AVX512-BF16 nor AMX-BF16 nor Arm BF16 instructions"
    if device.type == "mps" and precision == "bf16":
        return "Apple GPUs are run in fp32 or fp16"
    if device.type == "cuda" and precision == "bf16" and not _cuda_has_bf16(device):
        return "this GPU only emulates it"
    return None


def _cuda_has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_has_bf16() -> bool:
    # Releases of torch before get_capabilities cannot say, so they do not offer it.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in _CPU_BF16)
