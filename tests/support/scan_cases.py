"""Inputs of the scan, how backends are run on them, and the published scans."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NAMES = ("u", "projected", "step_weight", "step_bias", "A", "D")


def scan_inputs(b, h, w, d, n, r, k=4):
    generator = torch.Generator().manual_seed(b + h + w + d + n + r)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return [
        normal(b, h, w, d),
        normal(b, h, w, k * (r + 2 * n)),
        normal(k, d, r) * 0.3,
        normal(k, d) - 2,
        -0.2 - 8 * torch.rand(k, d, n, generator=generator),
        normal(k, d),
    ]


def strided(inputs):
    """The same values in memory that is not contiguous."""
    u, projected, step_weight, step_bias, A, D = inputs
    return [
        u.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
        torch.cat([projected, projected], dim=-1)[..., : projected.shape[-1]],
        step_weight.transpose(1, 2).contiguous().transpose(1, 2),
        step_bias.t().contiguous().t(),
        A.transpose(0, 2).contiguous().transpose(0, 2),
        D.expand(3, *D.shape)[1],
    ]


def values_and_gradients(scan, inputs, upstream):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    y = scan(*leaves)
    y.backward(upstream.to(y.dtype))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def published_scans(number):
    """Splits a published scan into its groups: sequences `(b c l)`, parameters `(d ...)`."""
    golden = load_file(GOLDEN / f"selective_scan_{number}.safetensors")
    groups = golden["B"].shape[1]
    pieces = {
        name: tensor.flatten(1, -2).chunk(groups, 1) if tensor.dim() > 2 else tensor.chunk(groups)
        for name, tensor in golden.items()
    }
    return [{name: piece[group] for name, piece in pieces.items()} for group in range(groups)]


def published_errors(scan, golden, direction, measure):
    """Errors of one direction on a published scan, values and gradients.

    The image has height one, the step projection is the identity, the other directions are silent.
    """
    own = torch.tensor(direction)
    d, n = golden["A"].shape

    def image(sequence):
        return sequence.transpose(1, 2).flip(1 if direction >= 2 else ())[:, None]

    def only(parameter):
        return torch.zeros(4, *parameter.shape).index_put((own,), parameter)

    row = torch.cat([image(golden[name]) for name in ("delta", "B", "C")], dim=-1)
    projected = only(row).permute(1, 2, 3, 0, 4)
    inputs = [
        image(golden["u"]),
        projected.flatten(3),
        only(torch.eye(d)),
        *(only(golden[name]) for name in ("delta_bias", "A", "D")),
    ]
    y, du, dprojected, _, *dparameters = values_and_gradients(scan, inputs, image(golden["grad_y"]))
    drow = dprojected.view(projected.shape)[..., own, :].split([d, n, n], dim=-1)
    errors = {"y": measure(y, image(golden["y"])), "u": measure(du, image(golden["grad_u"]))}
    for name, gradient in zip(("delta", "B", "C"), drow, strict=True):
        errors[name] = measure(gradient, image(golden[f"grad_{name}"]))
    for name, gradient in zip(("delta_bias", "A", "D"), dparameters, strict=True):
        errors[name] = measure(gradient[own], golden[f"grad_{name}"])
    return errors
