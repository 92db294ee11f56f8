"""The scan of an image on a GPU: Triton kernels behind a differentiable PyTorch function."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mambair_cli.kernels.scan.triton_division import ONE_WARP, Division, divide, processor
from mambair_cli.kernels.triton_launch import GPUS, channels_last, find_room, launch

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTERPRETER = "TRITON_INTERPRET"
# Room for the states before every token, of as many rows at a time as it holds, at least one.
HISTORY_BYTES = 256 * 2**20


def refuses(device: torch.device) -> str | None:
    """Say why the kernels cannot run on a device, or return None where they can.

    With `TRITON_INTERPRET=1` in the environment Triton's interpreter runs them on a CPU, for tests.
    """
    interpreted = os.environ.get(INTERPRETER) == "1"
    if device.type not in GPUS and not (device.type == "cpu" and interpreted):
        return f"it runs on CUDA, ROCm and XPU devices, not on {device.type}"
    find_room()
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return None


def block_sizes(A: Tensor, step_weight: Tensor) -> dict[str, int]:
    """Name the sizes that the kernels are compiled for."""
    import triton

    (k, _, n), r = A.shape, step_weight.shape[-1]
    return {
        "K": k,
        "N": n,
        "R": r,
        "NP": triton.next_power_of_2(n),
        "RP": triton.next_power_of_2(r),
    }


def scan_pass(
    tensors: Sequence[Tensor],
    division: Division,
    states: Tensor,
    steps: Tensor,
    planes: Tensor | None,
) -> None:
    """Run one pass of `triton_forward.scan_chunks`: the first if there are no planes to fill."""
    from mambair_cli.kernels.scan.triton_forward import scan_chunks

    u, projected, step_weight, step_bias, A, D = tensors
    b, h, w, d = u.shape
    # The last chunk's effect on the state is nobody's.
    chunks = division.chunks - (planes is None)
    limit = {} if division.registers is None else {"maxnreg": division.registers}
    launch(
        scan_chunks, (division.blocks, chunks, len(A) * b), u.device,
        u, projected, *(channels_last(p) for p in (step_weight, step_bias, A, D)),
        states, steps, u if planes is None else planes,
        b, h, w, d, division.length, division.chunks,
        **block_sizes(A, step_weight), BLOCK=division.block, WRITE_PLANES=planes is not None,
        num_warps=division.warps, **limit,
    )  # fmt: skip


def chunk_states(tensors: Sequence[Tensor], division: Division) -> tuple[Tensor, Tensor]:
    """Run the first pass: the state at the end of each chunk and the sum of its steps."""
    u, _, _, _, A, _ = tensors
    rows = u.shape[0], len(A), division.chunks
    states = u.new_empty(*rows, A.shape[-1], u.shape[-1], dtype=torch.float32)
    steps = u.new_empty(*rows, u.shape[-1], dtype=torch.float32)
    if division.chunks > 1:
        scan_pass(tensors, division, states, steps, None)
    return states, steps


def gradients(tensors: tuple[Tensor, ...], dplanes: Tensor) -> tuple[Tensor, ...]:
    """Differentiate the scan.

    States are computed again; nothing but the inputs is kept from the forward pass. Runs repeat to
    the bit: what several programs contribute to one value is stored apart and summed afterwards.

    Args:
        tensors: Arguments of `dispatch.selective_scan_2d`.
        dplanes: `(k b h w d)`, gradients of each direction's outputs, any dtype and strides.

    Returns:
        Gradients of the arguments, float32, in their shapes.
    """
    from mambair_cli.kernels.scan.triton_backward import adjoint_chunks, scan_gradients

    u, projected, step_weight, step_bias, A, D = tensors
    b, h, w, d = u.shape
    (k, _, n), r = A.shape, step_weight.shape[-1]
    dy = dplanes[0].contiguous() if dplanes.stride(0) == 0 else dplanes.contiguous()
    plane_stride = dy.stride(0) if dy.dim() == 5 else 0
    row_bytes = 4 * h * w * n * d
    rows_at_once = min(k * b, max(1, HISTORY_BYTES // row_bytes))
    division = divide(rows_at_once, h * w, d, n, r, processor(u.device), ONE_WARP)
    blocks, chunks = division.blocks, division.chunks
    sizes = block_sizes(A, step_weight)
    weight, bias, matrix, skip = (
        channels_last(parameter) for parameter in (step_weight, step_bias, A, D)
    )
    states, steps = chunk_states(tensors, division)
    adjoints = torch.empty_like(states)
    if chunks > 1:
        launch(
            adjoint_chunks, (blocks, chunks - 1, k * b), u.device,
            dy, projected, weight, bias, matrix, adjoints, steps,
            plane_stride, h, w, d, division.length, chunks,
            **sizes, BLOCK=division.block, num_warps=division.warps,
        )  # fmt: skip

    def new(*shape: int) -> Tensor:
        return u.new_empty(shape, dtype=torch.float32)

    du, dz, dA = new(k, b, h, w, d), new(k, b, h * w, d), torch.empty_like(states)
    dBC = new(blocks, b, h * w, k, 2 * n)
    history = new(rows_at_once, chunks, division.length, n, d)
    for first_row in range(0, k * b, rows_at_once):
        launch(
            scan_gradients, (blocks, chunks, min(rows_at_once, k * b - first_row)), u.device,
            u, projected, weight, bias, matrix, skip, dy,
            states, adjoints, steps, history, du, dz, dBC, dA,
            plane_stride, first_row, b, h, w, d, division.length, chunks,
            **sizes, BLOCK=division.block, num_warps=division.warps,
        )  # fmt: skip
    raw = projected.view(b, h * w, k, r + 2 * n)[..., :r].float()
    draw = torch.einsum("kbld,kdr->blkr", dz, step_weight.float())
    return (
        du.sum(0),
        torch.cat([draw, dBC.sum(0)], dim=-1).view(projected.shape),
        torch.einsum("kbld,blkr->kdr", dz, raw),
        dz.sum((1, 2)),
        dA.sum((0, 2)).transpose(1, 2),
        (dplanes.float() * u.float()).sum((1, 2, 3)),
    )


class _SelectiveScan2d(torch.autograd.Function):
    """Arguments as `dispatch.selective_scan_2d`; returns a plane for each direction."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        u, _, step_weight, _, A, _ = tensors
        b, h, w, d = u.shape
        (k, _, n), r = A.shape, step_weight.shape[-1]
        division = divide(k * b, h * w, d, n, r, processor(u.device))
        planes = u.new_empty(k, b, h, w, d)
        states, steps = chunk_states(tensors, division)
        scan_pass(tensors, division, states, steps, planes)
        ctx.save_for_backward(*tensors)
        return planes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dplanes: Tensor) -> tuple[Tensor, ...]:
        return gradients(ctx.saved_tensors, dplanes)


def selective_scan_2d(u: Tensor, projected: Tensor, *parameters: Tensor) -> Tensor:
    """Run the scan with a float32 state; see `dispatch.selective_scan_2d`.

    Args:
        u: As there; other dtypes than float32, bfloat16 and float16 are made float32.
        projected: As there, dtypes as for `u`.
        *parameters: As there.

    Returns:
        `(k b h w d)` in the dtype of `u`: the result is their sum.
    """
    u, projected = (
        tensor.contiguous() if tensor.dtype in DTYPES else tensor.float().contiguous()
        for tensor in (u, projected)
    )
    with torch.autocast(u.device.type, enabled=False):
        planes: Tensor = _SelectiveScan2d.apply(u, projected, *parameters)  # type: ignore[no-untyped-call]
    return planes
