"""Dense 3x3 convolutions on a CPU, against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.block import winograd
from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_cpu import FUSED
from mambair_cli.kernels.instruction_set import target

# Images, height, width, channels in and out.
SHAPES = [
    (1, 1, 1, 12, 12),
    (2, 3, 5, 16, 33),
    (3, 4, 4, 12, 16),
    (1, 5, 8, 21, 64),
    (2, 13, 11, 40, 48),
    (1, 64, 3, 60, 20),
    (1, 3, 64, 17, 60),
    (1, 26, 38, 180, 60),
    (1, 26, 38, 60, 180),
]


def frozen(c: int, o: int, **options: object) -> nn.Conv2d:
    torch.manual_seed(c + o)
    return nn.Conv2d(c, o, 3, padding=1, **options).requires_grad_(False)


def exact(x: Tensor, conv: nn.Conv2d) -> Tensor:
    bias = None if conv.bias is None else conv.bias.double()
    whole = functional.conv2d(x.permute(0, 3, 1, 2).double(), conv.weight.double(), bias, padding=1)
    return whole.permute(0, 2, 3, 1)


def error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_values(shape, activation):
    *size, o = shape
    x, conv = torch.randn(size), frozen(size[-1], o)
    number = {"none": 0, "gelu": 2}[activation]
    actual = winograd.convolve(x, conv, number)
    expected = exact(x, conv)
    if activation == "gelu":
        expected = functional.gelu(expected)
    assert actual.shape == expected.shape
    assert error(actual, expected) < 2e-6
    assert (actual - expected).abs().max() < 3e-5 * exact(x, conv).abs().max()


def test_rounding_is_a_few_times_that_of_a_direct_sum():
    x, conv = torch.randn(1, 48, 32, 180), frozen(180, 60)
    expected = exact(x, conv)
    direct = functional.conv2d(x.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1)
    own = error(FUSED.convolve(x, conv, "none"), expected)
    assert own < 5 * error(direct.permute(0, 2, 3, 1), expected)


def test_a_convolution_without_bias():
    x, conv = torch.randn(1, 12, 11, 16), frozen(16, 24, bias=False)
    assert error(FUSED.convolve(x, conv, "none"), exact(x, conv)) < 2e-6


def test_every_result_is_written_and_nothing_beside_it(monkeypatch):
    guard, x, conv = 64, torch.randn(2, 9, 14, 20), frozen(20, 19)
    whole = torch.full((2 * 9 * 14 * 19 + 2 * guard,), float("nan"))
    out = whole[guard:-guard].view(2, 9, 14, 19)
    real = torch.empty

    def poisoned(*shape, **options):
        if shape == (2, 9, 14, 19):
            return out
        return real(*shape, **options).fill_(float("nan"))

    monkeypatch.setattr(torch, "empty", poisoned)
    winograd.convolve(x, conv, 0)
    assert error(out, exact(x, conv)) < 2e-6
    assert whole[:guard].isnan().all()
    assert whole[-guard:].isnan().all()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(threads):
    x, conv = torch.randn(2, 23, 50, 24), frozen(24, 36)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = FUSED.convolve(x, conv, "gelu")
        torch.set_num_threads(threads)
        together = FUSED.convolve(x, conv, "gelu")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)


def test_an_image_of_a_batch_is_what_it_is_alone():
    x, conv = torch.randn(3, 17, 22, 16), frozen(16, 16)
    together = FUSED.convolve(x, conv, "none")
    assert torch.equal(together[1:2], FUSED.convolve(x[1:2].clone(), conv, "none"))


def test_channels_first_memory_is_read_as_it_lies():
    x, conv = torch.randn(1, 16, 12, 13).permute(0, 2, 3, 1), frozen(16, 16)
    assert not x.is_contiguous()
    assert error(FUSED.convolve(x, conv, "none"), exact(x, conv)) < 2e-6


def test_filters_are_evaluated_once_and_again_after_a_change(monkeypatch):
    x, conv = torch.randn(1, 12, 13, 16), frozen(16, 16)
    evaluated, real = [], winograd._evaluated
    monkeypatch.setattr(winograd, "_evaluated", lambda weight: evaluated.append(1) or real(weight))
    for _ in range(3):
        FUSED.convolve(x, conv, "none")
    assert len(evaluated) == 1
    with torch.no_grad():
        conv.weight.mul_(2)
    assert error(FUSED.convolve(x, conv, "none"), exact(x, conv)) < 2e-6
    assert len(evaluated) == 2


OTHERS = {
    "few channels": (nn.Conv2d(3, 16, 3, padding=1), {}),
    "few results": (nn.Conv2d(16, 3, 3, padding=1), {}),
    "1x1": (nn.Conv2d(16, 16, 1), {}),
    "5x5": (nn.Conv2d(16, 16, 5, padding=2), {}),
    "stride": (nn.Conv2d(16, 16, 3, padding=1, stride=2), {}),
    "dilation": (nn.Conv2d(16, 16, 3, padding=2, dilation=2), {}),
    "no padding": (nn.Conv2d(16, 16, 3), {}),
    "circular": (nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular"), {}),
    "groups": (nn.Conv2d(16, 16, 3, padding=1, groups=2), {}),
    "tiny": (nn.Conv2d(16, 16, 3, padding=1), {"size": (1, 4, 5)}),
    "float64": (nn.Conv2d(16, 16, 3, padding=1).double(), {"dtype": torch.float64}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_others_are_pytorchs_to_the_bit(case):
    conv, options = OTHERS[case]
    conv.requires_grad_(False)
    size, dtype = options.get("size", (1, 14, 17)), options.get("dtype", torch.float32)
    x = torch.randn(*size, conv.in_channels, dtype=dtype)
    assert not winograd.pays(x, conv)
    assert torch.equal(FUSED.convolve(x, conv, "gelu"), PLAIN.convolve(x, conv, "gelu"))


def test_gradients_are_pytorchs():
    x, conv = torch.randn(1, 12, 13, 16), nn.Conv2d(16, 16, 3, padding=1)
    assert not winograd.pays(x, conv)
    (gradient,) = torch.autograd.grad(FUSED.convolve(x, conv, "none").square().sum(), conv.weight)
    conv.requires_grad_(False)
    assert winograd.pays(x, conv)
    assert not winograd.pays(x.clone().requires_grad_(), conv)
    with torch.no_grad():
        assert winograd.pays(x.clone().requires_grad_(), conv)
    assert gradient.isfinite().all()


def test_half_precision_is_pytorchs():
    x, conv = torch.randn(1, 12, 13, 16), frozen(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(x, conv)
        assert FUSED.convolve(x, conv, "none").dtype == torch.bfloat16
    assert not winograd.pays(x.bfloat16(), conv)


def test_rows_of_a_block_divide_what_is_in_work_together():
    assert 24 % target().instruction_set.rows == 0
