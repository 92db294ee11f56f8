"""The vectorised scan against its definition in float64, and what it may allocate."""

from __future__ import annotations

import itertools

import pytest
import torch
from scan_cases import (
    NAMES,
    published_errors,
    published_scans,
    scan_inputs,
    strided,
    values_and_gradients,
)
from torch.utils._python_dispatch import TorchDispatchMode

from mambair_cli.kernels.scan import reference, torch_chunked

SIZES = [(1, 1), (1, 17), (17, 1), (2, 3), (3, 2), (5, 7), (7, 5), (17, 2), (3, 17), (7, 3), (5, 1)]
WIDTHS = itertools.product((1, 3, 33), (1, 6, 10, 16), (1, 4))
# b, h, w, d, n, r
SHAPES = [
    (1 + i % 2, *size, *widths)
    for i, (size, widths) in enumerate(zip(itertools.cycle(SIZES), WIDTHS, strict=False))
]

scan = torch_chunked.selective_scan_2d


@pytest.fixture(params=[1, 2000, torch_chunked.CACHED_VALUES], ids="{} values".format)
def _segments(request, monkeypatch):
    """Many segments, some, and one."""
    monkeypatch.setattr(torch_chunked, "CACHED_VALUES", request.param)
    monkeypatch.setattr(torch_chunked, "LEAST_TOKENS", 2 if request.param == 1 else 16)


def compare(inputs, measure, tolerance, dtype=torch.float32):
    upstream = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
    actual = values_and_gradients(scan, [tensor.to(dtype) for tensor in inputs], upstream)
    expected = values_and_gradients(
        reference.selective_scan_2d, [tensor.double() for tensor in inputs], upstream
    )
    for name, own, exact in zip(("y", *NAMES), actual, expected, strict=True):
        assert own.dtype == dtype
        assert measure(own, exact) < tolerance, name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_agree_with_the_definition(shape, relative_rms):
    compare(scan_inputs(*shape), relative_rms, 1e-5)


@pytest.mark.usefixtures("_segments")
@pytest.mark.parametrize(
    "shape", [(2, 5, 7, 3, 6, 4), (1, 17, 2, 33, 10, 1), (2, 1, 37, 5, 8, 3, 1)], ids=str
)
def test_any_segments_give_the_same_in_float64(shape, relative_rms):
    compare(scan_inputs(*shape), relative_rms, 1e-13, torch.float64)


@pytest.mark.usefixtures("_segments")
def test_without_gradients_the_values_are_the_same():
    inputs = scan_inputs(2, 5, 7, 33, 6, 4)
    for_training = scan(*(tensor.clone().requires_grad_() for tensor in inputs))
    with torch.inference_mode():
        assert torch.allclose(scan(*inputs), for_training, rtol=1e-5, atol=1e-6)


def test_frozen_inputs_are_scanned_once_with_no_copies(monkeypatch):
    inputs = scan_inputs(1, 3, 5, 20, 6, 3)
    expected = scan(*(tensor.clone().requires_grad_() for tensor in inputs))
    monkeypatch.setattr(torch_chunked, "checkpoint", None)
    monkeypatch.setattr(torch_chunked, "_Recurrence", None)
    assert torch.allclose(scan(*inputs), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        scan(*(tensor.requires_grad_() for tensor in inputs))


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_extreme_steps_stay_finite_and_right(scale, relative_rms):
    inputs = scan_inputs(1, 5, 7, 20, 6, 2)
    inputs[2] *= scale
    inputs[3] = torch.linspace(-200, 200, 80).view(4, 20)
    compare(inputs, relative_rms, 3e-5)


def test_inputs_need_not_be_contiguous(relative_rms):
    compare(strided(scan_inputs(2, 5, 7, 20, 6, 3)), relative_rms, 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    inputs = [tensor.to(dtype) for tensor in scan_inputs(1, 5, 7, 20, 6, 3)]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        y = scan(*leaves)
    assert y.dtype == torch.float32
    assert torch.equal(y, scan(*(tensor.float() for tensor in inputs)))
    y.sum().backward()
    assert all(leaf.grad.dtype == dtype for leaf in leaves)


@pytest.mark.parametrize("position", range(6), ids=NAMES)
def test_one_input_alone_may_want_its_gradient(position):
    inputs = scan_inputs(1, 3, 5, 20, 6, 3)
    upstream = torch.ones_like(inputs[0])
    expected = values_and_gradients(scan, inputs, upstream)
    inputs[position].requires_grad_()
    scan(*inputs).backward(upstream)
    assert torch.allclose(inputs[position].grad, expected[1 + position], atol=1e-6)
    assert all(tensor.grad is None for i, tensor in enumerate(inputs) if i != position)


@pytest.mark.parametrize("direction", range(4))
@pytest.mark.parametrize("number", range(4))
def test_published_scans_through_one_direction(number, direction, relative_rms):
    for golden in published_scans(number):
        errors = published_errors(scan, golden, direction, relative_rms)
        assert max(errors.values()) < 1e-4, errors


class Allocations(TorchDispatchMode):
    """Counts operators, and notes the largest result and every dtype."""

    def __init__(self):
        super().__init__()
        self.calls, self.largest, self.dtypes = 0, 0, set()

    def __torch_dispatch__(self, function, _types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.calls += 1
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                self.dtypes.add(tensor.dtype)
        return result


@pytest.mark.parametrize("gradients", [False, True])
def test_memory_is_bounded(gradients, monkeypatch):
    """Apple GPUs have no float64; a large image must not be held once for each state."""
    h, w, d, n = 12, 25, 40, 16
    monkeypatch.setattr(torch_chunked, "CACHED_VALUES", 50 * n * d)
    inputs = scan_inputs(1, h, w, d, n, 2)
    for tensor in inputs:
        tensor.requires_grad_(gradients)
    with Allocations() as seen:
        y = scan(*inputs)
        if gradients:
            y.sum().backward()
    assert seen.dtypes == {torch.float32}
    assert seen.largest <= max(tensor.numel() for tensor in inputs) < h * w * d * n / 2


@torch.inference_mode()
def test_steps_grow_with_the_square_root_of_the_tokens():
    calls = []
    for h, w in ((10, 15), (20, 30)):
        with Allocations() as seen:
            scan(*scan_inputs(1, h, w, 5, 4, 1))
        calls.append(seen.calls)
    assert calls[1] < 2.1 * calls[0]


def test_a_gradient_of_a_gradient_is_refused():
    leaves = [tensor.requires_grad_() for tensor in scan_inputs(1, 2, 3, 5, 2, 1)]
    (gradient,) = torch.autograd.grad(scan(*leaves).sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
