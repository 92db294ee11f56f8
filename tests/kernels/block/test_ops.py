"""The fused steps around the scan against PyTorch's in float64, values and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_cpu import FUSED

SHAPES = [
    (1, 1, 1, 1), (2, 5, 7, 20), (1, 1, 9, 3), (2, 9, 1, 40), (3, 6, 11, 48), (1, 2, 3, 33),
    (1, 10, 27, 18),
]  # fmt: skip
OPERATIONS = ["norm", "residual_norm", "norm_gate", "gated_residual"]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def layer_norm(channels):
    norm = nn.LayerNorm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def tensors_of(operation, shape):
    """Tensor arguments of an operation, and its module or None."""
    torch.manual_seed(sum(shape))
    b, c = shape[0], shape[-1]
    x, y = torch.randn(shape) + 0.5, 3 * torch.randn(shape)
    skip, gate = torch.randn(c), torch.rand(b, c)
    return {
        "norm": ([x], layer_norm(c)),
        "residual_norm": ([x, y, skip], layer_norm(c)),
        "norm_gate": ([x, y], layer_norm(c)),
        "gated_residual": ([x, y, skip, gate], None),
    }[operation]


def values_and_gradients(function, tensors, module, *, used=None):
    """Outputs, then the gradients of tensors and of the module's parameters."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    outputs = function(*leaves) if module is None else function(*leaves, module)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    parameters = [] if module is None else list(module.parameters())
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (output * torch.randn(output.shape, generator=generator)).sum()
        for i, output in enumerate(outputs)
        if used is None or i == used
    )
    gradients = torch.autograd.grad(
        loss, [*leaves, *parameters], allow_unused=True, materialize_grads=True
    )
    return [output.detach() for output in outputs], gradients


def compare(operation, tensors, module, measure, *, used=None, tolerance=1e-5):
    actual = values_and_gradients(getattr(FUSED, operation), tensors, module, used=used)
    expected = values_and_gradients(
        getattr(PLAIN, operation),
        [tensor.double() for tensor in tensors],
        copy.deepcopy(module).double() if module else None,
        used=used,
    )
    for kind, own_part, exact_part in zip(("value", "gradient"), actual, expected, strict=True):
        for i, (own, exact) in enumerate(zip(own_part, exact_part, strict=True)):
            if exact.abs().max() > 1e-9:  # the norm of a single channel has no gradient
                assert measure(own, exact) < tolerance, f"{kind} {i}"
            else:
                assert own.abs().max() < 1e-5, f"{kind} {i}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_pointwise_steps(operation, shape, relative_rms):
    compare(operation, *tensors_of(operation, shape), relative_rms)


@pytest.mark.parametrize("activation", ["none", "silu", "gelu"])
@pytest.mark.parametrize(("side", "reach"), [(3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (7, 1)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_depthwise_convolution(shape, side, reach, activation, relative_rms):
    torch.manual_seed(sum(shape))
    c = shape[-1]
    conv = nn.Conv2d(c, c, side, padding=side // 2 * reach, dilation=reach, groups=c)
    x = 2 * torch.randn(shape)
    found, expected = (
        values_and_gradients(
            lambda x, conv, ops=ops: ops.depthwise(x, conv, activation), [x.to(dtype)], module
        )
        for ops, dtype, module in (
            (FUSED, torch.float32, conv),
            (PLAIN, torch.float64, copy.deepcopy(conv).double()),
        )
    )
    for own_part, exact_part in zip(found, expected, strict=True):
        for own, exact in zip(own_part, exact_part, strict=True):
            assert own.dtype == torch.float32
            assert relative_rms(own, exact) < 1e-5


@pytest.mark.parametrize("how", ["gate", "added"])
@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_a_depthwise_convolution_gates_or_adds_to(shape, side, how, relative_rms):
    torch.manual_seed(sum(shape))
    c = shape[-1]
    conv = nn.Conv2d(c, c, side, padding=side // 2, groups=c)
    x = 2 * torch.randn(shape)
    found, expected = (
        values_and_gradients(
            lambda x, conv, ops=ops: ops.mixed(x, conv, how), [x.to(dtype)], module
        )
        for ops, dtype, module in (
            (FUSED, torch.float32, conv),
            (PLAIN, torch.float64, copy.deepcopy(conv).double()),
        )
    )
    with torch.inference_mode():
        found[0].append(FUSED.mixed(x, conv, how))
    expected[0].append(expected[0][0])
    for own_part, exact_part in zip(found, expected, strict=True):
        for own, exact in zip(own_part, exact_part, strict=True):
            assert relative_rms(own, exact) < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 37, 5), (3, 64, 16), (1, 40, 43)], ids=str)
def test_pixels_are_sorted_by_class_and_back(shape):
    scores = torch.randint(0, 3, shape).float()  # with ties: the first of the highest
    b, length, _ = shape
    for ops in (PLAIN, FUSED):
        classes, order, places = ops.sort_by_class(scores)
        assert torch.equal(classes, scores.argmax(-1)), ops
        expected = classes.argsort(dim=1, stable=True) + length * torch.arange(b)[:, None]
        assert torch.equal(order, expected.flatten())
        assert torch.equal(order[places], torch.arange(b * length))


def test_what_is_normed_may_have_no_skip_and_a_third_part(relative_rms):
    torch.manual_seed(0)
    x, branch, more = torch.randn(3, 2, 5, 7, 20)
    skip, norm = torch.randn(20), layer_norm(20)
    for factor, third in ((None, None), (None, more), (skip, more)):
        arguments = x, branch, factor, norm, third
        exact = PLAIN.residual_norm(
            *(each.double() if isinstance(each, torch.Tensor) else each for each in arguments[:3]),
            copy.deepcopy(norm).double(),
            None if third is None else third.double(),
        )
        with torch.inference_mode():
            fused = FUSED.residual_norm(*arguments)
        for found in (fused, FUSED.residual_norm(*arguments)):
            for own, expected in zip(found, exact, strict=True):
                assert relative_rms(own, expected) < 1e-6


def test_gradients_reach_all_three_parts(relative_rms):
    torch.manual_seed(0)
    norm = layer_norm(20)

    def ways(ops):
        def joined(x, branch, more, norm):
            return ops.residual_norm(x, branch, None, norm, more)

        return values_and_gradients(joined, torch.randn(3, 2, 5, 7, 20).unbind(), norm)

    torch.manual_seed(1)
    found = ways(FUSED)
    torch.manual_seed(1)
    for own, exact in zip(found[1], ways(PLAIN)[1], strict=True):
        assert relative_rms(own, exact) < 1e-5


@pytest.mark.parametrize("used", [0, 1])
def test_either_output_of_the_residual_norm_may_go_unused(used, relative_rms):
    compare("residual_norm", *tensors_of("residual_norm", (2, 5, 7, 20)), relative_rms, used=used)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_inputs_need_not_be_contiguous(operation):
    tensors, module = tensors_of(operation, (2, 5, 7, 20))
    strided = [
        tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() > 1 else tensor
        for tensor in tensors
    ]
    function = getattr(FUSED, operation)
    for one, other in zip(
        values_and_gradients(function, tensors, module),
        values_and_gradients(function, strided, module),
        strict=True,
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_half_precision_is_computed_in_float32(operation):
    tensors, module = tensors_of(operation, (2, 5, 7, 20))
    halves = [tensor.bfloat16() for tensor in tensors]
    function = getattr(FUSED, operation)
    outputs, gradients = values_and_gradients(function, halves, module)
    exact, _ = values_and_gradients(function, [half.float() for half in halves], module)
    assert all(torch.equal(own, other) for own, other in zip(outputs, exact, strict=True))
    assert [gradient.dtype for gradient in gradients[: len(halves)]] == [torch.bfloat16] * len(
        halves
    )


def test_a_norm_far_from_zero_keeps_its_precision(relative_rms):
    tensors, module = tensors_of("norm", (2, 5, 7, 20))
    compare("norm", [tensors[0] + 300], module, relative_rms, tolerance=1e-4)


def test_a_constant_pixel_is_normed_to_the_bias():
    norm = layer_norm(20)
    normed = FUSED.norm(torch.full((1, 2, 3, 20), 7.25), norm)
    assert torch.equal(normed, norm.bias.expand_as(normed))


def test_gates_saturate_without_nan():
    norm = layer_norm(16)
    y, z = torch.randn(1, 1, 2, 16), torch.tensor([-1e4, 1e4]).view(1, 1, 2, 1).expand(1, 1, 2, 16)
    closed, opened = FUSED.norm_gate(y, z, norm)[0, 0]
    assert closed.abs().max() < 1e-30
    assert torch.allclose(opened, 1e4 * norm(y)[0, 0, 1])


@pytest.mark.parametrize("activation", ["none", "gelu", "silu"])
@pytest.mark.parametrize(("k", "n"), [(128, 128), (130, 131), (348, 174), (174, 58), (33, 500)])
@pytest.mark.parametrize("pixels", [(1, 1, 3), (1, 2, 4), (2, 7, 11), (1, 13, 16)], ids=str)
def test_products_with_what_follows_them(pixels, k, n, activation, relative_rms):
    torch.manual_seed(k)
    for layer in (nn.Linear(k, n), nn.Conv2d(k, n, 1), nn.Linear(k, n, bias=False)):
        x = torch.randn(*pixels, k)
        with torch.inference_mode():
            found = FUSED.dense(x, layer, activation)
        expected = PLAIN.dense(x.double(), copy.deepcopy(layer).double(), activation)
        assert found.shape == (*pixels, n)
        assert relative_rms(found, expected.detach()) < 1e-6


def test_a_product_reads_pixels_that_are_not_contiguous():
    torch.manual_seed(0)
    layer, x = nn.Linear(160, 128), torch.randn(2, 9, 6, 160)
    with torch.inference_mode():
        strided = x.transpose(1, 2).contiguous().transpose(1, 2)
        assert torch.equal(FUSED.dense(strided, layer, "gelu"), FUSED.dense(x, layer, "gelu"))
    assert (
        torch.autograd.grad(FUSED.dense(x, layer, "gelu").sum(), layer.weight)[0].isfinite().all()
    )
