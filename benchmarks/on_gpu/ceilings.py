"""What the GPU can do at most, measured: copies, matrix products, exponentials, multiply-adds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from on_gpu.measure import computing, milliseconds

if TYPE_CHECKING:
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

ROUNDS = 64  # steps of each chain; the kernels unroll 16 at a time
BLOCK = 1024


@triton.jit
def exponentials(source, target, rounds, block: tl.constexpr):  # noqa: ANN001, ANN201
    """Each value `rounds * 16` times through the special-function unit's exp2."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    x = tl.load(source + at)
    for _ in range(rounds):
        for _ in tl.static_range(16):
            x = tl.exp2(-x)
    tl.store(target + at, x)


@triton.jit
def multiply_adds(source, target, rounds, block: tl.constexpr):  # noqa: ANN001, ANN201
    """Each value through `rounds * 16` fused multiply-adds."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    x = tl.load(source + at)
    for _ in range(rounds):
        for _ in tl.static_range(16):
            x = x * -0.5 + 0.75
    tl.store(target + at, x)


@triton.jit
def polynomials(source, target, rounds, block: tl.constexpr):  # noqa: ANN001, ANN201
    """Each value through `rounds * 16` exp2 made of multiply-adds and exponent bits."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    x = tl.load(source + at)
    for _ in range(rounds):
        for _ in tl.static_range(16):
            shifted = 12582912.0 - x
            rest = -x - (shifted - 12582912.0)
            y = rest * 0.00967218 + 0.05550327
            y = y * rest + 0.24022228
            y = y * rest + 0.69314721
            y = y * rest + 1.0
            bits = y.to(tl.int32, bitcast=True) + (shifted.to(tl.int32, bitcast=True) << 23)
            x = bits.to(tl.float32, bitcast=True)
    tl.store(target + at, x)


KERNELS = {
    "exp2_special_function": exponentials,
    "exp2_polynomial": polynomials,
    "fma": multiply_adds,
}


def rounded(rate: float) -> float:
    """Four digits: rates of toy sizes are tiny and no zero."""
    return float(f"{rate:.4g}")


def rates(device: torch.device, *, quick: bool) -> dict[str, float]:
    """Operations of each chain in 1e9 a second, on values that stay in registers."""
    programs, rounds = (2, 1) if quick else (132 * 64, ROUNDS)
    inputs = [torch.rand(programs * BLOCK, device=device) for _ in range(2)]
    target = torch.empty_like(inputs[0])
    found = {}
    for name, kernel in KERNELS.items():

        def run(source: Tensor, kernel: Any = kernel) -> None:
            kernel[(programs,)](source, target, rounds, block=BLOCK, num_warps=4)

        taken = milliseconds(run, inputs, seconds=0.3)["median_ms"]
        found[f"{name}_G_per_s"] = rounded(programs * BLOCK * rounds * 16 / taken / 1e6)
    return found


def copy_rate(device: torch.device, *, quick: bool) -> float:
    """Bytes read and written by a copy on the device, in 1e9 a second."""
    count = 2**12 if quick else 2**30
    inputs = [torch.rand(count, device=device) for _ in range(2)]
    target = torch.empty_like(inputs[0])
    taken = milliseconds(target.copy_, inputs, seconds=0.3)["median_ms"]
    return rounded(2 * 4 * count / taken / 1e6)


def product_rate(number_format: str, device: torch.device, *, quick: bool) -> float:
    """A square matrix product of random values, in 1e12 floating-point operations a second."""
    side = 64 if quick else 8192
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(number_format, torch.float32)
    inputs = [torch.randn(side, side, device=device, dtype=dtype) for _ in range(2)]
    right = torch.randn(side, side, device=device, dtype=dtype)
    with computing("tf32" if number_format == "tf32" else "fp32", device):
        taken = milliseconds(lambda x: x @ right, inputs, seconds=0.5, most=20)["median_ms"]
    return rounded(2 * side**3 / taken / 1e9)


def step(report: Report, settings: Settings) -> None:
    """Measures every ceiling."""
    device, quick = settings.device, settings.quick
    for number_format in ("bf16", "fp16", "tf32", "fp32"):
        report.attempt(
            partial(product_rate, number_format, device, quick=quick),
            f"matmul_{number_format}_TFLOP_per_s",
        )
    report.attempt(partial(copy_rate, device, quick=quick), "copy_read_plus_written_GB_per_s")
    report.attempt(partial(rates, device, quick=quick), "units")
