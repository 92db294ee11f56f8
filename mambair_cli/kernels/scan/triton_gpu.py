"""The four-direction scan on a GPU: Triton kernels behind a differentiable PyTorch function.

A sequence is cut into chunks so that one small image fills a large GPU: a first pass over the
chunks gives each one's effect on the state, a second makes the outputs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from mambair_cli.kernels.parameters import made_once
from mambair_cli.kernels.scan.reference import DIRECTIONS

GPUS = ("cuda", "xpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Channels of a lane and warps of a program, the best first where as many lanes are idle: two
# channels share what is loaded for a token, warps of a program find it in the first-level cache.
PROGRAMS = ((2, 4), (2, 2), (2, 1), (1, 1))
# Warps on one multiprocessor from which on the exponentials keep it busy. By count of instructions;
# no GPU has measured it.
BUSY_WARPS = 10
# What the first pass costs, in units of the second, and what it costs a chunk to take in one before
# it, in tokens. By count of instructions.
FIRST_PASS = 0.85
EARLIER_CHUNK = 0.7
SHORTEST_CHUNK = 64
MOST_CHUNKS = 128
INTERPRETER = "TRITON_INTERPRET"


@dataclass(frozen=True)
class Processor:
    """What the work is divided for.

    Attributes:
        multiprocessors: Multiprocessors (compute units, Xe cores) of the device.
        lanes: Threads of a warp.
    """

    multiprocessors: int
    lanes: int


@dataclass(frozen=True)
class Division:
    """How a scan is divided into programs.

    Attributes:
        block: Channels of a program.
        warps: Warps of a program.
        blocks: Blocks of channels.
        length: Tokens of a chunk, even.
        chunks: Chunks of a sequence; the last may be shorter, none is empty.
    """

    block: int
    warps: int
    blocks: int
    length: int
    chunks: int


def refuses(device: torch.device) -> str | None:
    """Says why the kernels cannot run on a device, or returns None where they can.

    With `TRITON_INTERPRET=1` in the environment Triton's interpreter runs them on a CPU, for tests.
    """
    interpreted = os.environ.get(INTERPRETER) == "1"
    if device.type not in GPUS and not (device.type == "cpu" and interpreted):
        return f"it runs on CUDA, ROCm and XPU devices, not on {device.type}"
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return None


@cache
def processor(device: torch.device) -> Processor:
    """Reads what the division of work depends on from a device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Processor(properties.multi_processor_count, getattr(properties, "warp_size", 32))
    if device.type == "xpu":
        return Processor(torch.xpu.get_device_properties(device).max_compute_units, 32)
    return Processor(1, 32)


@lru_cache(maxsize=256)
def divide(sequences: int, tokens: int, channels: int, processor: Processor) -> Division:
    """Divides a scan so that the device is full and the first pass still small.

    Args:
        sequences: Images times directions.
        tokens: Pixels of an image.
        channels: Inner channels.
        processor: The device.

    Returns:
        The division with the least predicted time.
    """
    sizes = [(each * warps * processor.lanes, warps) for each, warps in PROGRAMS]
    block, warps = min(sizes, key=lambda size: -(-channels // size[0]) * size[0])
    blocks = -(-channels // block)
    needed = BUSY_WARPS * processor.multiprocessors / (sequences * blocks * warps)

    def cost(chunks: int) -> float:
        passes = 1 + FIRST_PASS * (chunks - 1) / chunks
        earlier = EARLIER_CHUNK * (chunks - 1) / 2
        return (passes + earlier * chunks / tokens) * max(1.0, needed / chunks)

    most = min(MOST_CHUNKS, max(1, tokens // SHORTEST_CHUNK))
    chunks = min(range(1, most + 1), key=cost)
    length = -(-tokens // chunks)
    length += length % 2
    return Division(block, warps, blocks, length, -(-tokens // length))


def running_on(device: torch.device) -> AbstractContextManager[object]:
    """A context in which kernels are launched on a device: Triton takes the current one."""
    if device.type in GPUS:
        here: AbstractContextManager[object] = torch.get_device_module(device).device(device)
        return here
    return nullcontext()


def channels_last(parameter: Tensor) -> Tensor:
    """Returns a parameter `(k d)` or `(k d x)` in float32, the latter as `(k x d)`."""
    return made_once(parameter, _channels_last)


def _channels_last(parameter: Tensor) -> Tensor:
    arranged = parameter.detach().float()
    return (arranged.transpose(1, 2) if arranged.dim() == 3 else arranged).contiguous()


def block_sizes(A: Tensor, step_weight: Tensor) -> dict[str, int]:
    """Sizes that the kernels are compiled for."""
    import triton

    n, r = A.shape[-1], step_weight.shape[-1]
    return {"N": n, "R": r, "NP": triton.next_power_of_2(n), "RP": triton.next_power_of_2(r)}


def scan_pass(
    tensors: Sequence[Tensor],
    division: Division,
    states: Tensor,
    steps: Tensor,
    planes: Tensor | None,
) -> None:
    """Runs one pass of `triton_forward.scan_chunks`: the first if there are no planes to fill."""
    from mambair_cli.kernels.scan.triton_forward import scan_chunks

    u, projected, step_weight, step_bias, A, D = tensors
    b, h, w, d = u.shape
    # The last chunk's effect on the state is nobody's.
    chunks = division.chunks - (planes is None)
    scan_chunks[division.blocks, chunks, DIRECTIONS * b](
        u, projected, *(channels_last(p) for p in (step_weight, step_bias, A, D)),
        states, steps, u if planes is None else planes,
        b, h, w, d, division.length, division.chunks,
        **block_sizes(A, step_weight), BLOCK=division.block, WRITE_PLANES=planes is not None,
        num_warps=division.warps,
    )  # fmt: skip


def chunk_states(tensors: Sequence[Tensor], division: Division) -> tuple[Tensor, Tensor]:
    """Runs the first pass: the state at the end of each chunk and the sum of its steps."""
    u, _, _, _, A, _ = tensors
    rows = u.shape[0], DIRECTIONS, division.chunks
    states = u.new_empty(*rows, A.shape[-1], u.shape[-1], dtype=torch.float32)
    steps = u.new_empty(*rows, u.shape[-1], dtype=torch.float32)
    if division.chunks > 1:
        scan_pass(tensors, division, states, steps, None)
    return states, steps


class _SelectiveScan2d(torch.autograd.Function):
    """Arguments as `dispatch.selective_scan_2d`; returns a plane for each direction."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        u, *_ = tensors
        b, h, w, d = u.shape
        division = divide(DIRECTIONS * b, h * w, d, processor(u.device))
        planes = u.new_empty(DIRECTIONS, b, h, w, d)
        with running_on(u.device):
            states, steps = chunk_states(tensors, division)
            scan_pass(tensors, division, states, steps, planes)
        ctx.save_for_backward(*tensors)
        return planes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dplanes: Tensor) -> tuple[Tensor, ...]:
        from mambair_cli.kernels.scan.triton_gradients import gradients

        with running_on(dplanes.device):
            return gradients(ctx.saved_tensors, dplanes)


def selective_scan_2d(u: Tensor, projected: Tensor, *parameters: Tensor) -> Tensor:
    """Runs the scan with a float32 state; see `dispatch.selective_scan_2d`.

    Args:
        u: As there; other dtypes than float32, bfloat16 and float16 are made float32.
        projected: As there, dtypes as for `u`.
        *parameters: As there.

    Returns:
        `(4 b h w d)` in the dtype of `u`: the result is their sum.
    """
    u, projected = (
        tensor.contiguous() if tensor.dtype in DTYPES else tensor.float().contiguous()
        for tensor in (u, projected)
    )
    with torch.autocast(u.device.type, enabled=False):
        planes: Tensor = _SelectiveScan2d.apply(u, projected, *parameters)  # type: ignore[no-untyped-call]
    return planes
