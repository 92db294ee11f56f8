"""Which number format a network runs in, and the context that applies it.

In bf16 and fp16 the matrix products and convolutions run in that format (autocast); the state of
the selective scan is float32 always. `half_weights.py` keeps the weights in it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from mambair_cli.errors import BackendError, UsageError
from mambair_cli.restoration.device.tf32 import float32_products

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PrecisionRequest = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

PRECISIONS: tuple[PrecisionRequest, ...] = ("auto", "fp32", "tf32", "bf16", "fp16")
HALF_TYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What torch calls the instructions that multiply bfloat16: Intel and AMD, Intel's tiles, Arm.
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
_LEAST_TF32_CAPABILITY = (8, 0)


def resolve_precision(requested: PrecisionRequest, device: torch.device) -> Precision:
    """Decide the number format.

    Half precision is never chosen on a CPU unless it is asked for. On a GPU without bf16 `auto` is
    fp32: its fp16 would be fast, but can overflow, and a default must be trustworthy.

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
    """Have a float32 network compute in the given format in this context.

    On CUDA `fp32` means float32: torch rounds convolutions to TF32 unless it is told otherwise.

    Args:
        precision: As returned by `resolve_precision`.
        device: Where the network runs.

    Returns:
        The context manager; a new one is needed for each use.
    """
    if precision in HALF_TYPES:
        return torch.autocast(device.type, HALF_TYPES[precision])
    if device.type == "cuda":
        return float32_products(tf32=precision == "tf32")
    return nullcontext()


def _refusal(precision: Precision, device: torch.device) -> str | None:
    if precision == "tf32":
        return _tf32_refusal(device)
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


def _tf32_refusal(device: torch.device) -> str | None:
    # ROCm calls itself CUDA, and numbers its architectures from 9 on.
    if device.type != "cuda" or torch.version.hip is not None:
        return "only NVIDIA GPUs multiply in it"
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_TF32_CAPABILITY:
        return f"it needs compute capability 8.0, this GPU has {capability[0]}.{capability[1]}"
    return None


def _cuda_has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_has_bf16() -> bool:
    # Releases of torch before get_capabilities cannot say, so they do not offer it.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in _CPU_BF16)
