"""Floors of a network: what each stage must compute and move, over what the GPU can do at most.

A network runs on the meta device, where tensors have shapes and no values. Every stage is counted
as if it were fused perfectly: its inputs read once, its outputs written once.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.kernels.scan.dispatch import Backend
from mambair_cli.networks import build_network
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.networks.spec import NetworkConfig

# Multiply-adds and multiplications for each exponential: delta A, delta B u, the state, the output.
SCAN_FMAS = 4
FLOAT32_BYTES = 4
OPERAND_BYTES = {"bf16": 2, "fp16": 2, "tf32": 4, "fp32": 4}
# Of the ops of `kernels/block/ops.py`, those that are not norms, gates and residuals.
STAGE_OF_OP = {"depthwise": "depthwise", "sort_by_class": "sorting"}
NORMS = "norms"
PRODUCTS = ("project",)  # counted as what they dispatch


@dataclass
class Work:
    """What a stage must do.

    Attributes:
        flops: Floating-point operations of matrix products and convolutions.
        exponentials: Of the scan.
        values: Tensor elements read and written, each once.
        calls: How often the stage runs in one pass.
    """

    flops: int = 0
    exponentials: int = 0
    values: int = 0
    calls: int = 0


class _Counting(TorchDispatchMode):
    """Counts matrix products and convolutions as they are dispatched."""

    def __init__(self, works: dict[str, Work]) -> None:
        super().__init__()
        self.works = works
        self.inside = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket  # noqa: SLF001
        if not self.inside and packet in flop_registry:
            stage = "convolutions" if "conv" in str(packet) else "products"
            work = self.works[stage]
            work.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
            work.values += _values(args) + _values(out)
            work.calls += 1
        return out


def _values(tensors: Any) -> int:
    """Elements of all tensors in a nest of tuples, of modules' parameters too."""
    if isinstance(tensors, Tensor):
        return tensors.numel()
    if isinstance(tensors, nn.Module):
        return sum(parameter.numel() for parameter in tensors.parameters())
    return sum(map(_values, tensors)) if isinstance(tensors, tuple | list) else 0


def census(config: NetworkConfig, height: int, width: int) -> dict[str, Work]:
    """Counts the work of one pass over one image.

    Args:
        config: Which network.
        height: Pixels of the input.
        width: Pixels of the input.

    Returns:
        By stage: scan, products (of attention too), convolutions, depthwise, norms, sorting.
    """
    works: dict[str, Work] = defaultdict(Work)
    counting = _Counting(works)

    def scan(u: Tensor, *others: Tensor) -> Tensor:
        y = torch.empty_like(u, dtype=torch.float32)
        *_, A, _ = others
        work = works["scan"]
        work.exponentials += u.numel() * A.shape[0] * A.shape[2]
        work.values += _values((u, *others, y))
        work.calls += 1
        return y

    def counted(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        if name in PRODUCTS:
            return run

        def op(*arguments: Any) -> Any:
            counting.inside = True
            out = run(*arguments)
            counting.inside = False
            work = works[STAGE_OF_OP.get(name, NORMS)]
            work.values += _values((arguments, out))
            work.calls += 1
            return out

        return op

    ops = Ops(**{f.name: counted(f.name, getattr(PLAIN, f.name)) for f in dataclasses.fields(Ops)})
    with torch.device("meta"):
        network = build_network(config).eval().requires_grad_(False).to("meta")
        image = torch.empty(1, config.channels, height, width)
    for module in network.modules():
        if hasattr(module, "ops"):
            module.ops = ops  # type: ignore[assignment]
        if isinstance(module, SelectiveScan):
            module.scan = Backend("count", lambda _: None, scan)
    with torch.no_grad(), counting:
        network(image)
    return dict(works)


def floors(
    works: dict[str, Work], ceilings: dict[str, Any], number_format: str
) -> dict[str, dict[str, float]]:
    """The least time of each stage.

    Args:
        works: From `census`.
        ceilings: As `gpu_ceilings.step` reports them.
        number_format: `bf16`, `fp16`, `tf32` or `fp32`; the scan computes in float32 always.

    Returns:
        By stage: milliseconds that the arithmetic takes, that the bytes take, and the larger.
    """
    matmul = ceilings[f"matmul_{number_format}_TFLOP_per_s"] * 1e9
    copy = ceilings["copy_read_plus_written_GB_per_s"] * 1e6
    exponential = ceilings["units"]["exp2_special_function_G_per_s"] * 1e6
    fma = ceilings["units"]["fma_G_per_s"] * 1e6
    table = {}
    for stage, work in works.items():
        arithmetic = work.flops / matmul + max(
            work.exponentials / exponential, SCAN_FMAS * work.exponentials / fma
        )
        moved = work.values * OPERAND_BYTES[number_format] / copy
        table[stage] = {
            "arithmetic_ms": round(arithmetic, 4),
            "bytes_ms": round(moved, 4),
            "floor_ms": round(max(arithmetic, moved), 4),
            "calls": work.calls,
        }
    return table
