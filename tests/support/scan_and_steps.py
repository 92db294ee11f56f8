"""Runs the scan and the steps around it on the kernels of one instruction set, against definitions.

Prints the instruction set; `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose it. The argument `scan`
leaves out gradients, and all steps but one.
"""

from __future__ import annotations

import sys

import torch
from scan_cases import scan_inputs, values_and_gradients
from torch import Tensor, nn

from mambair_cli.kernels.block.attention import Windows
from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.kernels.block.ops_cpu import FUSED
from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.scan import numba_cpu, reference

CHANNELS = (5, 16, 21)


def check(what: str, actual: list[Tensor], expected: list[Tensor], tolerance: float = 1e-5) -> None:
    """Compare values and gradients to a share of their size."""
    for i, (own, right) in enumerate(zip(actual, expected, strict=True)):
        error = float((own.double() - right.double()).norm() / right.double().norm())
        assert error < tolerance, (what, i, error)


def steps(ops: Ops, c: int) -> list[Tensor]:
    """Values and gradients of every step."""
    torch.manual_seed(c)
    x, y, skip = (torch.randn(shape) for shape in ((2, 6, 7, c), (2, 6, 7, c), (c,)))
    gate = torch.rand(2, c)
    leaves = [x, y, skip, gate]
    for leaf in leaves:
        leaf.requires_grad_()
    norm = nn.LayerNorm(c)
    convolutions = [
        (nn.Conv2d(c, c, side, padding=side // 2, groups=c), activation)
        for side in (3, 5)
        for activation in ("silu", "gelu", "none")
    ]
    results = [ops.depthwise(x, conv, activation) for conv, activation in convolutions]
    results += [ops.norm(x, norm), ops.norm_gate(x, y, norm), *ops.residual_norm(x, y, skip, norm)]
    results.append(ops.gated_residual(x, y, skip, gate))
    parameters = [*norm.parameters(), *(p for conv, _ in convolutions for p in conv.parameters())]
    total = torch.stack([result.square().sum() for result in results]).sum()
    return [
        *(result.detach() for result in results),
        *torch.autograd.grad(total, leaves + parameters),
    ]


def check_attention() -> None:
    """Compare the values of attention in windows that fill vectors, and in others."""
    for side, heads, each in ((16, 2, 5), (6, 1, 9)):
        torch.manual_seed(side)
        qkv, windows = torch.randn(2, side, 2 * side, 3 * heads * each), Windows(side, heads, 2)
        table = torch.randn((2 * side - 1) ** 2, heads)
        expected = PLAIN.attend(qkv.double(), table.double(), windows)
        check("attention", [FUSED.attend(qkv, table, windows)], [expected])


def check_convolution() -> None:
    """Compare dense convolutions, with one vector left and with none."""
    for c, o in ((16, 40), (21, 64)):
        torch.manual_seed(c)
        x, conv = torch.randn(2, 9, 14, c), nn.Conv2d(c, o, 3, padding=1).requires_grad_(False)
        for activation in ("none", "gelu"):
            expected = PLAIN.convolve(x.double(), conv.double(), activation)
            actual = FUSED.convolve(x, conv.float(), activation)
            check("convolution", [actual], [expected], 2e-6)


def check_bfloat16() -> None:
    """Compare the scan and a step that read bfloat16, and a step that stores it."""
    for channels in CHANNELS:
        u, *others = scan_inputs(2, 3, 5, channels, 5, 3)
        z, norm = u.flip(1).bfloat16(), nn.LayerNorm(channels)
        expected = reference.selective_scan_2d(
            u.bfloat16().double(), *(tensor.double() for tensor in others)
        )
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            y = numba_cpu.selective_scan_2d(u.bfloat16(), *others)
            gated = FUSED.norm_gate(y, z, norm)
        check("scan of bfloat16", [y], [expected], 2e-4)
        assert gated.dtype == torch.bfloat16
        right = PLAIN.norm_gate(expected.float(), z.float(), norm)
        check("step in bfloat16", [gated], [right.detach()], 4e-3)


def check_scan() -> None:
    """Compare the values of the scan, of one step, and of convolutions."""
    check_bfloat16()
    check_convolution()
    for channels in CHANNELS:
        inputs = scan_inputs(2, 3, 5, channels, 5, 3)
        expected = reference.selective_scan_2d(*(tensor.double() for tensor in inputs))
        check("scan", [numba_cpu.selective_scan_2d(*inputs)], [expected])
        x, y, norm = inputs[0], inputs[0].flip(1), nn.LayerNorm(channels)
        check("step", [FUSED.norm_gate(x, y, norm)], [PLAIN.norm_gate(x, y, norm)])


def check_everything() -> None:
    """Compare values and gradients of the scan and of all steps."""
    check_bfloat16()
    check_convolution()
    for channels in CHANNELS:
        inputs = scan_inputs(2, 3, 5, channels, 5, 3)
        upstream = torch.randn(inputs[0].shape)
        actual = values_and_gradients(numba_cpu.selective_scan_2d, inputs, upstream)
        doubles = [tensor.double() for tensor in inputs]
        expected = values_and_gradients(reference.selective_scan_2d, doubles, upstream)
        check(f"scan of {channels}", actual, expected)
        check(f"steps on {channels}", steps(FUSED, channels), steps(PLAIN, channels))
    check_attention()


def main() -> None:
    """Check what was asked for."""
    check_scan() if sys.argv[1:] == ["scan"] else check_everything()
    print(target().instruction_set.name)  # noqa: T201


if __name__ == "__main__":
    main()
