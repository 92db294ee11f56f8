"""The selective scan as the paper writes it: a plain loop that every backend is tested against.

Nothing here is optimised, and nothing here ever should be.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    """Discretise the state space, then run its recurrence (paper, eq. 2 and 3; Mamba, alg. 2).

        h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y_t = <C_t, h_t> + D u_t

    B and C are repeated for each channel and the discrete A and B u made for the whole sequence
    first, `(b d l n)` each, as the published code does it.

    Args:
        u: Input sequence, `(b d l)`.
        delta: Raw step sizes, `(b d l)`; the step is `softplus(delta + delta_bias)`.
        A: State matrix (diagonal, negative), `(d n)`.
        B: Input matrix, `(b g n l)` with `d` divisible by the number of groups `g`.
        C: Output matrix, `(b g n l)`.
        D: Skip weight, `(d)`.
        delta_bias: Bias of the step size, `(d)`.

    Returns:
        `y`, `(b d l)`, in the dtype of `u`.
    """
    b, d, length = u.shape
    step = functional.softplus(delta + delta_bias[:, None])
    B, C = (matrix.repeat_interleave(d // B.shape[1], dim=1).mT for matrix in (B, C))
    A_bar = torch.exp(step[..., None] * A[:, None])
    B_u = step[..., None] * B * u[..., None]
    h = u.new_zeros(b, d, A.shape[1])
    outputs = []
    for t in range(length):
        h = A_bar[:, :, t] * h + B_u[:, :, t]
        outputs.append((C[:, :, t] * h).sum(-1))
    return torch.stack(outputs, dim=-1) + D[:, None] * u


def to_sequences(image: Tensor, directions: int) -> Tensor:
    """Unfold an image into the scan orders: rows, columns, rows reversed, columns reversed.

    Args:
        image: `(b h w c)`.
        directions: How many of them `k`, from the first: 4, or 1 for a sequence.

    Returns:
        `(b k c l)` with `l = h*w`.
    """
    rows = image.permute(0, 3, 1, 2).flatten(2)
    columns = image.permute(0, 3, 2, 1).flatten(2)
    forward = torch.stack([rows, columns], dim=1)
    return torch.cat([forward, forward.flip(-1)], dim=1)[:, :directions]


def from_sequences(sequences: Tensor, h: int, w: int) -> Tensor:
    """Fold the scan orders back to pixels and sum them.

    Args:
        sequences: `(b k c l)` in the order of `to_sequences`.
        h: Image height.
        w: Image width.

    Returns:
        `(b h w c)`.
    """
    b, k, c, _ = sequences.shape
    if k == 1:
        return sequences.view(b, c, h, w).permute(0, 2, 3, 1)
    rows, columns = (sequences[:, :2] + sequences[:, 2:].flip(-1)).unbind(1)
    return rows.view(b, c, h, w).permute(0, 2, 3, 1) + columns.view(b, c, w, h).permute(0, 3, 2, 1)


def selective_scan_2d(
    u: Tensor, projected: Tensor, step_weight: Tensor, step_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Scan in each direction by definition: unfold, scan, fold and sum (paper, section 3.5).

    Arguments and result are those of `dispatch.selective_scan_2d`.
    """
    b, h, w, d = u.shape
    k, _, r = step_weight.shape
    n = A.shape[-1]
    sequences = to_sequences(u, k)
    own = torch.arange(k, device=u.device)
    inputs = to_sequences(projected, k).view(b, k, k, r + 2 * n, h * w)[:, own, own]
    raw, B, C = torch.split(inputs, [r, n, n], dim=2)
    delta = torch.einsum("bkrl,kdr->bkdl", raw, step_weight)
    y = selective_scan(
        sequences.flatten(1, 2),
        delta.flatten(1, 2),
        A.flatten(0, 1),
        B,
        C,
        D.flatten(),
        step_bias.flatten(),
    )
    return from_sequences(y.view(b, k, d, h * w), h, w)
