"""The scan of an image in vectorised PyTorch, for devices that have no kernel of their own.

Each direction is cut into segments, so that nothing of size `(b k d n l)` ever exists, and each
segment into chunks. Its chunks are scanned side by side, position by position; then the state goes
from chunk to chunk, and what it adds is added everywhere at once. So a segment of `s` tokens takes
some `2 sqrt(s)` steps instead of `s`.

Decays are only ever multiplied, never divided by, and only negative numbers are exponentiated: what
has faded is zero, and nothing overflows. Nothing here needs float64, or an operator that only some
devices have.
"""

from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mambair_cli.kernels.parameters import recorded

# Values in the state of one segment. On a CPU it should stay in the cache; elsewhere it should be
# large, since every step is a launch, but a small part of any device's memory.
CACHED_VALUES = 2**20
LAUNCHED_VALUES = 2**24
# Fewer tokens than this are not worth a segment, however wide the network is.
LEAST_TOKENS = 16


def selective_scan_2d(
    u: Tensor, projected: Tensor, step_weight: Tensor, step_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Run the scan in float32, or in float64 if `u` is; see `dispatch.selective_scan_2d`."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    _, h, w, _ = u.shape
    with torch.autocast(u.device.type, enabled=False):
        u, projected = u.to(dtype), projected.to(dtype)
        parameters = (
            step_weight.to(dtype).transpose(-1, -2),
            step_bias.to(dtype),
            A.to(dtype).transpose(-1, -2).contiguous(),
            D.to(dtype),
        )
        blocks = projected.view(*u.shape[:3], len(A), -1).unbind(-2)
        results = (
            _to_image(
                _scan(_to_sequence(u, k), _to_sequence(block, k), *(p[k] for p in parameters)),
                (h, w),
                k,
            )
            for k, block in enumerate(blocks)
        )
        return reduce(torch.add, results)


def _to_sequence(image: Tensor, direction: int) -> Tensor:
    """Unfold `(b h w c)` to `(b l c)` in the order of one direction."""
    sequence = (image.transpose(1, 2) if direction % 2 else image).flatten(1, 2)
    return sequence.flip(1) if direction >= 2 else sequence


def _to_image(sequence: Tensor, size: tuple[int, int], direction: int) -> Tensor:
    """Fold `(b l c)` back to `(b h w c)`."""
    h, w = size
    sequence = sequence.flip(1) if direction >= 2 else sequence
    b, _, c = sequence.shape
    return sequence.view(b, w, h, c).transpose(1, 2) if direction % 2 else sequence.view(b, h, w, c)


def _scan(
    u: Tensor, block: Tensor, step_weight: Tensor, step_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Scan a direction: `u` `(b l d)`, `block` `(b l r+2n)`, `step_weight` `(r d)`, `A` `(n d)`."""
    b, length, d = u.shape
    n = len(A)
    values = CACHED_VALUES if u.device.type == "cpu" else LAUNCHED_VALUES
    segments = math.ceil(length / max(LEAST_TOKENS, values // (b * n * d)))
    tokens = math.ceil(length / segments)
    state = u.new_zeros(b, n, d)
    outputs = []
    for inputs in zip(torch.split(u, tokens, 1), torch.split(block, tokens, 1), strict=True):
        arguments = (*inputs, state, step_weight, step_bias, A, D)
        if recorded(arguments):
            y, state = checkpoint(
                _scan_segment, *arguments, use_reentrant=False, preserve_rng_state=False
            )
        else:
            y, state = _scan_segment(*arguments)
        outputs.append(y)
    return torch.cat(outputs, 1)


def _scan_segment(
    u: Tensor,
    block: Tensor,
    state: Tensor,
    step_weight: Tensor,
    step_bias: Tensor,
    A: Tensor,
    D: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scan tokens that follow on a state `(b n d)`; return `y` `(b s d)` and the last state."""
    tokens, n = u.shape[1], len(A)
    raw, B, C = torch.split(block, [len(step_weight), n, n], -1)
    step = functional.softplus(raw @ step_weight + step_bias)
    decay = (_chunked(step).unsqueeze(-2) * A).exp_()
    added = _chunked(step * u).unsqueeze(-2) * _chunked(B).unsqueeze(-1)
    # Steps that fill the last chunk are zero: they keep the state.
    if recorded((decay, added, state)):
        states: Tensor = _Recurrence.apply(decay, added, state)  # type: ignore[no-untyped-call]
    else:
        states = _recur_(decay, added, state)
    y = (states * _chunked(C).unsqueeze(-1)).sum(-2)
    return y.permute(2, 1, 0, 3).flatten(1, 2)[:, :tokens] + D * u, states[-1, -1].clone()


def _chunked(sequence: Tensor) -> Tensor:
    """Cut `(b s c)` into `(position chunk b c)`, zeros after the last token."""
    b, tokens, c = sequence.shape
    positions = math.isqrt(tokens - 1) + 1
    filled = functional.pad(sequence, (0, 0, 0, -tokens % positions))
    return filled.view(b, -1, positions, c).permute(2, 1, 0, 3).contiguous()


def _recur_(decay: Tensor, x: Tensor, state: Tensor) -> Tensor:
    """Turn `x` into `h_t = decay_t h_{t-1} + x_t` in place; `decay` becomes that of its chunk.

    Args:
        decay: `(position chunk b n d)`.
        x: Likewise.
        state: What comes before the first token, `(b n d)`.

    Returns:
        `x`.
    """
    x[0, 0].addcmul_(decay[0, 0], state)
    for before, now in pairwise(range(len(x))):
        x[now].addcmul_(decay[now], x[before])
        decay[now].mul_(decay[before])
    for before, now in pairwise(range(x.shape[1])):
        x[-1, now].addcmul_(decay[-1, now], x[-1, before])
    x[:-1, 1:].addcmul_(decay[:-1, 1:], x[-1, :-1])
    return x


def _delayed(x: Tensor, first: Tensor) -> Tensor:
    """Give every token the one before it, `(position chunk ...)`; the first token gets `first`."""
    heads = torch.cat([first[None], x[-1, :-1]])
    return torch.cat([heads[None], x[:-1]])


class _Recurrence(torch.autograd.Function):
    """`_recur_` with gradients: the same recurrence, from the end."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor, state: Tensor) -> Tensor:
        states = _recur_(decay.clone(), x.clone(), state)
        ctx.save_for_backward(decay, state, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, state, states = ctx.saved_tensors
        after = torch.zeros_like(state)
        dx = _recur_(_delayed(decay.flip(0, 1), after), gradient.flip(0, 1), after).flip(0, 1)
        return dx * _delayed(states, state), dx, decay[0, 0] * dx[0, 0]
