"""The attention kernel of a CPU against PyTorch's attention in float64."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.kernels.block.attention import Windows
from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_cpu import FUSED

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def inputs(windows, each, images, rows, columns):
    torch.manual_seed(windows.side + each)
    channels = windows.heads * each
    table = torch.randn((2 * windows.side - 1) ** 2, windows.heads)
    return torch.randn(images, rows * windows.side, columns * windows.side, 3 * channels), table


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(
    ("side", "heads", "each"),
    [(2, 1, 1), (4, 2, 3), (6, 3, 8), (8, 2, 29), (16, 4, 12), (20, 1, 5)],
)
def test_pixels_attend_as_by_definition(side, heads, each, shifted, relative_rms):
    windows = Windows(side, heads, side // 2 if shifted else 0)
    for grid in ((1, 1, 1), (2, 1, 3), (1, 3, 2)):
        qkv, table = inputs(windows, each, *grid)
        with torch.inference_mode():
            found = FUSED.attend(qkv, table, windows)
        expected = PLAIN.attend(qkv.double(), table.double(), windows)
        assert found.dtype == torch.float32
        assert relative_rms(found, expected) < 1e-5


def test_one_table_serves_the_kernel_and_the_definition_in_turns(relative_rms):
    windows = Windows(4, 2, 2)
    qkv, table = inputs(windows, 5, 1, 2, 3)
    for _ in range(2):
        found, expected = FUSED.attend(qkv, table, windows), PLAIN.attend(qkv, table, windows)
        assert relative_rms(found, expected) < 1e-5


def test_an_odd_shift_and_an_odd_side(relative_rms):
    for windows in (Windows(8, 2, 3), Windows(5, 2, 2)):
        qkv, table = inputs(windows, 6, 1, 2, 3)
        expected = PLAIN.attend(qkv.double(), table.double(), windows)
        with torch.inference_mode():
            assert relative_rms(FUSED.attend(qkv, table, windows), expected) < 1e-5


@pytest.mark.parametrize("factor", [0.0, 1e-3, 30.0, 1e4])
def test_scores_of_any_size(factor):
    windows = Windows(16, 2, 8)
    qkv, table = inputs(windows, 7, 1, 2, 1)
    qkv[..., :28] *= factor**0.5
    with torch.inference_mode():
        found = FUSED.attend(qkv, table, windows)
    expected = PLAIN.attend(qkv.double(), table.double(), windows)
    assert found.isfinite().all()
    # Scores of thousands are rounded to what changes their exponentials.
    assert (found - expected).abs().max() < 1e-5 * max(1, factor)


def test_gradients_are_those_of_the_definition():
    windows = Windows(4, 2, 2)
    qkv, table = inputs(windows, 5, 2, 1, 2)
    gradients = []
    for ops in (PLAIN, FUSED):
        leaves = [tensor.detach().requires_grad_() for tensor in (qkv, table)]
        gradients += torch.autograd.grad(ops.attend(*leaves, windows).square().sum(), leaves)
    assert all(map(torch.equal, gradients[:2], gradients[2:]))


def test_inputs_need_not_be_contiguous():
    windows = Windows(4, 2, 2)
    qkv, table = inputs(windows, 5, 2, 1, 2)
    with torch.inference_mode():
        expected = FUSED.attend(qkv, table, windows)
        strided = qkv.transpose(1, 2).contiguous().transpose(1, 2)
        assert torch.equal(FUSED.attend(strided, table, windows), expected)
