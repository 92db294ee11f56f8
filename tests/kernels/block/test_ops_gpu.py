"""The Triton steps around the scan against PyTorch's in float64: values, gradients, types."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.block.ops import PLAIN
from mambair_cli.kernels.block.ops_gpu import FUSED
from mambair_cli.networks.layers import ResidualStateSpaceBlock
from mambair_cli.restoration.device.scan_backend import set_scan_backend

SHAPES = [(1, 1, 1, 4), (2, 3, 5, 24), (1, 2, 9, 60), (3, 1, 2, 72), (1, 1, 4, 180), (1, 1, 3, 360)]
ODD = (2, 2, 3, 7)
STEPS = ["depthwise", "norm", "residual_norm", "norm_gate", "channel_gate", "gated_residual"]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def depthwise_convolution(c, reach=1, side=3):
    padding = side // 2 * reach
    return randomised(nn.Conv2d(c, c, side, padding=padding, dilation=reach, groups=c))


def arguments_of(step, shape, device):
    """Arguments of a step, random."""
    torch.manual_seed(sum(shape))
    b, c = shape[0], shape[-1]
    x, y = torch.randn(shape) + 0.5, 3 * torch.randn(shape)
    skip, gate = torch.randn(c), torch.rand(b, c)
    norm, hidden = randomised(nn.LayerNorm(c)), max(1, c // 30)
    mixers = randomised(nn.Conv2d(c, hidden, 1)), randomised(nn.Conv2d(hidden, c, 1))
    arguments = {
        "depthwise": (x, depthwise_convolution(c), "silu"),
        "norm": (x, norm),
        "residual_norm": (x, y, skip, norm),
        "norm_gate": (x, y, norm),
        "channel_gate": (x, *mixers),
        "gated_residual": (x, y, skip, gate),
    }[step]
    return [value if isinstance(value, str) else value.to(device) for value in arguments]


def converted(arguments, dtype):
    """Float tensors and modules in another type, as copies."""
    return [
        copy.deepcopy(value).to(dtype)
        if isinstance(value, nn.Module)
        else value.to(dtype)
        if isinstance(value, torch.Tensor)
        else value
        for value in arguments
    ]


def outputs_of(ops, step, arguments):
    outputs = getattr(ops, step)(*arguments)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def values_and_gradients(ops, step, arguments):
    """Outputs, then the gradients of tensors and of parameters of modules."""
    leaves = [
        value.detach().clone().requires_grad_() if isinstance(value, torch.Tensor) else value
        for value in arguments
    ]
    parameters = [
        parameter
        for value in arguments
        if isinstance(value, nn.Module)
        for parameter in value.parameters()
    ]
    outputs = outputs_of(ops, step, leaves)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(output.shape, generator=generator).to(output) for output in outputs]
    wanted = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)] + parameters
    return [output.detach() for output in outputs], torch.autograd.grad(outputs, wanted, upstream)


def assert_close(own, exact, measure, tolerance):
    for i, (one, other) in enumerate(zip(own, exact, strict=True)):
        assert measure(one.cpu(), other.cpu()) < tolerance, i


def assert_step(step, arguments, measure):
    own = values_and_gradients(FUSED, step, arguments)
    exact = values_and_gradients(PLAIN, step, converted(arguments, torch.float64))
    for own_part, exact_part, tolerance in zip(own, exact, (2e-6, 1e-5), strict=True):
        assert_close(own_part, exact_part, measure, tolerance)
        assert {part.dtype for part in own_part} == {torch.float32}


@pytest.mark.parametrize("shape", [*SHAPES, ODD], ids=str)
@pytest.mark.parametrize("step", STEPS)
def test_values_and_gradients(step, shape, kernel_device, relative_rms):
    assert_step(step, arguments_of(step, shape, kernel_device), relative_rms)


@pytest.mark.parametrize(
    ("shape", "reach", "activation"),
    [
        ((1, 4, 9, 6), 1, "gelu"),
        ((1, 4, 9, 6), 2, "none"),
        ((2, 3, 1, 5), 2, "silu"),
        ((1, 1, 40, 33), 1, "none"),
        ((1, 1, 40, 33), 2, "gelu"),
        ((1, 1, 3, 100), 1, "silu"),
    ],
    ids=str,
)
def test_depthwise_convolution(shape, reach, activation, kernel_device, relative_rms):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(kernel_device)
    conv = depthwise_convolution(shape[-1], reach).to(kernel_device)
    assert_step("depthwise", [x, conv, activation], relative_rms)


@pytest.mark.parametrize(
    ("shape", "side", "reach", "activation"),
    [
        ((1, 4, 9, 6), 5, 1, "gelu"),
        ((2, 3, 7, 24), 5, 2, "none"),
        ((1, 1, 20, 33), 5, 1, "none"),
        ((1, 7, 1, 48), 5, 1, "gelu"),
        ((1, 2, 3, 6), 7, 1, "none"),  # by the definition
    ],
    ids=str,
)
def test_wider_depthwise_convolution(shape, side, reach, activation, kernel_device, relative_rms):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(kernel_device)
    conv = depthwise_convolution(shape[-1], reach, side).to(kernel_device)
    assert_step("depthwise", [x, conv, activation], relative_rms)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 37, 5), (3, 64, 16), (1, 90, 128)], ids=str)
@pytest.mark.parametrize("kinds", [ops_gpu.KEYS, (torch.int64,)], ids=["short", "long"])
def test_pixels_are_sorted_by_class_and_back(shape, kinds, kernel_device, monkeypatch):
    monkeypatch.setattr(ops_gpu, "KEYS", kinds)
    scores = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(0)).float()
    scores += torch.linspace(0, 0.5, shape[-1])  # no ties: which of them wins is a GPU's affair
    found = FUSED.sort_by_class(scores.to(kernel_device))
    for own, expected in zip(found, PLAIN.sort_by_class(scores), strict=True):
        assert torch.equal(own.cpu(), expected)


@pytest.mark.parametrize(
    ("images", "classes", "kind"),
    [(1, 64, torch.uint8), (4, 64, torch.uint8), (5, 64, torch.int16), (600, 64, torch.int32)],
)
def test_keys_of_sorted_pixels_are_as_short_as_they_can_be(images, classes, kind, monkeypatch):
    sorted_by = []
    argsort = torch.Tensor.argsort
    monkeypatch.setattr(
        torch.Tensor, "argsort", lambda x, **how: sorted_by.append(x.dtype) or argsort(x, **how)
    )
    FUSED.sort_by_class(torch.rand(images, 3, classes))
    assert sorted_by == [kind]


@pytest.mark.parametrize(("rows", "reach"), [(4, 2), (8, 1)])
def test_depthwise_convolution_in_taller_tiles(
    rows, reach, monkeypatch, kernel_device, relative_rms
):
    monkeypatch.setattr(ops_gpu, "ROWS", (rows,))
    x = torch.randn(1, rows + 1, 5, 12, device=kernel_device)
    conv = depthwise_convolution(12, reach).to(kernel_device)
    assert_step("depthwise", [x, conv, "gelu"], relative_rms)


@pytest.mark.parametrize("step", STEPS)
def test_a_mix_of_half_precisions_is_computed_in_float32(step, kernel_device, relative_rms):
    arguments = arguments_of(step, (2, 3, 5, 24), kernel_device)
    arguments[0] = arguments[0].bfloat16()
    if step in ("residual_norm", "norm_gate", "gated_residual"):
        arguments[1] = arguments[1].half()
    own, gradients = values_and_gradients(FUSED, step, arguments)
    exact, _ = values_and_gradients(PLAIN, step, converted(arguments, torch.float64))
    assert {output.dtype for output in own} == {torch.float32}
    assert gradients[0].dtype == torch.bfloat16
    assert_close(own, exact, relative_rms, 1e-6)


@pytest.mark.parametrize(
    ("step", "dtype"), [(step, torch.bfloat16) for step in STEPS] + [("norm_gate", torch.float16)]
)
def test_autocast_stores_what_products_read_in_its_type(step, dtype, kernel_device, relative_rms):
    arguments = arguments_of(step, (2, 3, 5, 24), kernel_device)
    with torch.autocast(kernel_device.type, dtype):
        own, gradients = values_and_gradients(FUSED, step, arguments)
    types = {
        "residual_norm": [torch.float32, dtype],
        "channel_gate": [torch.float32],
        "gated_residual": [torch.float32],
    }.get(step, [dtype])
    assert [output.dtype for output in own] == types
    exact = values_and_gradients(PLAIN, step, converted(arguments, torch.float64))
    assert_close(own, exact[0], relative_rms, 4e-3)
    assert_close(gradients, exact[1], relative_rms, 8e-3)
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


@pytest.mark.parametrize(
    ("parts", "dtype"), [(1, torch.float32), (4, torch.bfloat16), (3, torch.float16)]
)
def test_norm_and_gate_of_a_result_in_parts(parts, dtype, kernel_device, relative_rms):
    _, z, norm = arguments_of("norm_gate", (2, 3, 5, 24), kernel_device)
    y = torch.randn(parts, 2, 3, 5, 24, device=kernel_device).to(dtype)
    own = values_and_gradients(FUSED, "norm_gate", [y, z, norm])
    exact = values_and_gradients(PLAIN, "norm_gate", converted([y, z, norm], torch.float64))
    assert own[1][0].dtype == dtype
    assert_close(own[0], exact[0], relative_rms, 1e-6)
    assert_close(own[1], exact[1], relative_rms, 4e-3)


@pytest.mark.parametrize("c", [24, 7])
@pytest.mark.parametrize("step", STEPS)
def test_halves_of_a_wider_tensor_are_read_in_place(step, c, monkeypatch, kernel_device):
    arguments = arguments_of(step, (2, 3, 5, c), kernel_device)
    expected = outputs_of(FUSED, step, arguments)
    halves = [
        torch.cat([torch.full_like(value, torch.nan), value], dim=-1).chunk(2, dim=-1)[1]
        if isinstance(value, torch.Tensor) and value.dim() == 4
        else value
        for value in arguments
    ]
    copies, contiguous = [], torch.Tensor.contiguous
    monkeypatch.setattr(
        torch.Tensor, "contiguous", lambda x: copies.append(x.shape) or contiguous(x)
    )
    own = outputs_of(FUSED, step, halves)
    assert (2 * 3 * 5, c) not in copies
    assert all(torch.equal(one, other) for one, other in zip(own, expected, strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_inputs_need_not_be_contiguous(step, kernel_device):
    arguments = arguments_of(step, (2, 3, 5, 24), kernel_device)
    strided = [
        value.transpose(0, -1).contiguous().transpose(0, -1)
        if isinstance(value, torch.Tensor) and value.dim() > 1
        else value
        for value in arguments
    ]
    for one, other in zip(
        values_and_gradients(FUSED, step, arguments),
        values_and_gradients(FUSED, step, strided),
        strict=True,
    ):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_frozen_inputs_keep_nothing_for_a_backward_pass(step, kernel_device, monkeypatch):
    arguments = arguments_of(step, (1, 1, 2, 8), kernel_device)
    monkeypatch.setattr(ops_gpu, "_Fused", None)
    with torch.no_grad():
        outputs_of(FUSED, step, arguments)
    for value in arguments:
        if isinstance(value, nn.Module):
            value.requires_grad_(False)
    outputs_of(FUSED, step, arguments)


def test_a_norm_far_from_zero_keeps_its_precision(kernel_device, relative_rms):
    x, norm = arguments_of("norm", (2, 3, 5, 20), kernel_device)
    exact = PLAIN.norm((x + 300).double(), copy.deepcopy(norm).double())
    assert relative_rms(FUSED.norm(x + 300, norm).detach().cpu(), exact.detach().cpu()) < 1e-4


def test_the_epsilon_is_that_of_the_module(kernel_device, relative_rms):
    x, norm = arguments_of("norm", (2, 3, 5, 20), kernel_device)
    norm.eps = 0.5
    own, exact = FUSED.norm(x, norm).detach().cpu(), PLAIN.norm(x, norm).detach().cpu()
    assert relative_rms(own, exact) < 1e-6


def test_gates_saturate_without_nan(kernel_device):
    norm = randomised(nn.LayerNorm(16)).to(kernel_device)
    y = torch.randn(1, 1, 2, 16, device=kernel_device)
    z = torch.tensor([-1e4, 1e4], device=kernel_device).view(1, 1, 2, 1).expand(1, 1, 2, 16)
    closed, opened = FUSED.norm_gate(y, z, norm)[0, 0]
    assert closed.abs().max() < 1e-30
    assert torch.allclose(opened, 1e4 * norm(y)[0, 0, 1])


def test_a_block_agrees_with_the_definition(kernel_device, relative_rms):
    torch.manual_seed(0)
    block = ResidualStateSpaceBlock(12, d_state=2, expand=1.5, light=True)
    for parameter in block.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x, upstream = torch.randn(1, 3, 4, 12), torch.randn(1, 3, 4, 12)
    results = {}
    for scan, place, dtype in (
        ("reference", torch.device("cpu"), torch.float64),
        ("triton", kernel_device, torch.float32),
    ):
        twin = copy.deepcopy(block).to(place, dtype)
        set_scan_backend(twin, scan)
        leaf = x.to(place, dtype).requires_grad_()
        output = twin(leaf)
        wanted = [leaf, *twin.parameters()]
        gradients = torch.autograd.grad(output, wanted, upstream.to(output))
        results[scan] = [output.detach(), *gradients]
    assert_close(results["triton"], results["reference"], relative_rms, 1e-4)


@pytest.mark.parametrize("frozen", ["tensors", "module"])
@pytest.mark.parametrize("step", ["residual_norm", "channel_gate"])
def test_only_what_needs_gradients_gets_them(step, frozen, kernel_device):
    arguments = arguments_of(step, (1, 2, 3, 8), kernel_device)
    tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
    modules = nn.ModuleList(value for value in arguments if isinstance(value, nn.Module))
    modules.requires_grad_(frozen != "module")
    for tensor in tensors:
        tensor.requires_grad_(frozen != "tensors")
    sum(output.sum() for output in outputs_of(FUSED, step, arguments)).backward()
    assert all((tensor.grad is None) == (frozen == "tensors") for tensor in tensors)
    assert all((p.grad is None) == (frozen == "module") for p in modules.parameters())


def test_a_parameter_changed_before_the_backward_pass_is_noticed(kernel_device):
    x, norm = arguments_of("norm", (1, 2, 3, 8), kernel_device)
    normed = FUSED.norm(x, norm)
    norm.weight.data.add_(1)
    with torch.no_grad():
        norm.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        normed.sum().backward()


@pytest.mark.parametrize(
    ("c", "width"), [(4, 4), (60, 60), (72, 72), (180, 60), (216, 72), (360, 72), (576, 96)]
)
def test_slices_of_usual_channels_leave_none_idle(c, width):
    assert ops_gpu._slice(c, ops_gpu._align(c)) == width


@pytest.mark.parametrize("c", [97, 101, 194, 250, 1000])
def test_slices_of_unusual_channels_leave_few_idle(c):
    align = ops_gpu._align(c)
    width = ops_gpu._slice(c, align)
    assert width % align == 0
    assert -c % width < 0.05 * c


@pytest.mark.parametrize(("p", "pixels"), [(4096, 8), (32768, 32), (131072, 64)])
def test_small_images_get_small_tiles(p, pixels):
    tile = {"PIXELS": pixels, "CHANNELS": 64, "num_warps": 4}
    assert ops_gpu._tile(p, 60) == tile
    assert ops_gpu._tile(p // 2, 60, images=2) == tile


def test_a_pixel_of_many_channels_belongs_to_one_warp():
    assert ops_gpu._tile(57600, 180) == {"PIXELS": 4, "CHANNELS": 256, "num_warps": 1}


def products_by_definition(rows, columns, *, out_dtype):
    assert rows.dtype == columns.dtype == torch.bfloat16
    return rows.to(out_dtype) @ columns.to(out_dtype)


def test_projection_keeps_the_accumulator_of_half_precision_products(monkeypatch):
    monkeypatch.setattr(ops_gpu, "_keeps_accumulator", lambda _: True)
    monkeypatch.setattr(torch, "mm", products_by_definition)
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 12), torch.randn(7, 12)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        projected = FUSED.project(x, weight)
    assert projected.dtype == torch.float32
    rounded = x.bfloat16().float(), weight.bfloat16().float()
    torch.testing.assert_close(projected, PLAIN.project(*rounded))


def test_projection_is_the_definition_where_it_must_be(monkeypatch):
    monkeypatch.setattr(torch, "mm", None)
    x, weight = torch.randn(2, 3, 5, 12, requires_grad=True), torch.randn(7, 12)
    assert torch.equal(FUSED.project(x, weight), PLAIN.project(x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        projected = FUSED.project(x, weight)
    assert projected.dtype == torch.bfloat16
    assert projected.requires_grad


@pytest.mark.gpu
def test_projection_on_a_gpu():
    x, weight = (torch.randn(shape, device="cuda") for shape in [(2, 3, 5, 64), (44, 64)])
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        projected = FUSED.project(x.bfloat16(), weight)
    assert projected.dtype == torch.float32
    exact = x.bfloat16().double() @ weight.bfloat16().double().t()
    assert (projected - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("step", STEPS)
def test_steps_can_be_captured_into_a_cuda_graph(step):
    arguments = arguments_of(step, (2, 33, 47, 72), torch.device("cuda"))
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.inference_mode():
        with torch.cuda.stream(stream):
            outputs_of(FUSED, step, arguments)  # compiles, which a capture cannot
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            captured = outputs_of(FUSED, step, arguments)
        arguments[0].mul_(-2)
        graph.replay()
        torch.cuda.synchronize()
        expected = outputs_of(FUSED, step, arguments)
    assert all(torch.equal(one, other) for one, other in zip(captured, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("step", ["depthwise", "norm", "norm_gate", "channel_gate"])
def test_tensors_beyond_two_to_the_31_elements(step, relative_rms):
    arguments = arguments_of(step, (1, 4, 65536, 16), torch.device("cuda"))
    rows = 2**31 // arguments[0][0, 0].numel() + 8
    large = [
        value.bfloat16().repeat(1, rows // 4, 1, 1)
        if isinstance(value, torch.Tensor) and value.dim() == 4
        else value
        for value in arguments
    ]
    small = [
        value[:, -8:] if isinstance(value, torch.Tensor) and value.dim() == 4 else value
        for value in large
    ]
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        (own,), (expected,) = outputs_of(FUSED, step, large), outputs_of(FUSED, step, small)
    end = own if own.dim() == 2 else own[:, -4:]
    expected = expected if expected.dim() == 2 else expected[:, -4:]
    assert relative_rms(end.cpu(), expected.cpu()) < 1e-2
