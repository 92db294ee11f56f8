"""The fused four-direction scan on a CPU against its definition in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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

from mambair_cli.kernels import numba_launch
from mambair_cli.kernels.scan import numba_cpu, reference
from mambair_cli.kernels.vector import LANES

# b, h, w, d, n, r; k where it is not 4
SHAPES = [
    (1, 1, 1, 7, 1, 1),
    (2, 1, 37, 16, 5, 1),
    (1, 37, 1, 20, 6, 3),
    (3, 5, 7, 40, 10, 3),
    (1, 4, 6, 72, 10, 12),
    (2, 3, 11, 150, 16, 12),
    (1, 2, 3, 1, 5, 3),
    (1, 9, 16, 17, 16, 1),
    (2, 1, 37, 40, 5, 3, 1),
    (1, 5, 7, 150, 16, 11, 1),
]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def compare(inputs, measure, tolerance=1e-5):
    upstream = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
    actual = values_and_gradients(numba_cpu.selective_scan_2d, inputs, upstream)
    expected = values_and_gradients(
        reference.selective_scan_2d, [tensor.double() for tensor in inputs], upstream
    )
    for name, own, exact in zip(("y", *NAMES), actual, expected, strict=True):
        assert own.dtype == torch.float32
        assert measure(own, exact) < tolerance, name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_agree_with_the_definition(shape, relative_rms):
    compare(scan_inputs(*shape), relative_rms)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_gradients_the_values_are_the_same(shape):
    inputs = scan_inputs(*shape)
    for_training = numba_cpu.selective_scan_2d(*(x.clone().requires_grad_() for x in inputs))
    with torch.inference_mode():
        assert torch.equal(numba_cpu.selective_scan_2d(*inputs), for_training)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_where_nothing_is_recorded_no_state_is_kept_for_parameters_in_training(mode, monkeypatch):
    inputs = [tensor.requires_grad_() for tensor in scan_inputs(1, 3, 5, 20, 6, 3)]
    kept = []

    def launch(kernel, tasks, *arguments):
        kept.append(arguments[7].numel())
        numba_launch.launch(kernel, tasks, *arguments)

    monkeypatch.setattr(numba_cpu, "launch", launch)
    with mode():
        numba_cpu.selective_scan_2d(*inputs)
    assert kept == [0]
    numba_cpu.selective_scan_2d(*inputs)
    assert kept[1] > 0


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_extreme_steps_stay_finite_and_right(scale, relative_rms):
    inputs = scan_inputs(1, 3, 5, 20, 6, 2)
    inputs[2] *= scale
    inputs[3] = torch.linspace(-60, 60, 80).view(4, 20)
    compare(inputs, relative_rms, tolerance=3e-5)


def test_inputs_need_not_be_contiguous(relative_rms):
    inputs = scan_inputs(2, 5, 7, 20, 6, 3)
    upstream = torch.randn(5, 7, 20, 2).permute(3, 0, 1, 2)
    actual = values_and_gradients(numba_cpu.selective_scan_2d, strided(inputs), upstream)
    expected = values_and_gradients(numba_cpu.selective_scan_2d, inputs, upstream.contiguous())
    for own, other in zip(actual, expected, strict=True):
        assert torch.equal(own, other)
    compare(strided(inputs), relative_rms)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_is_computed_in_float32(dtype):
    inputs = [tensor.to(dtype) for tensor in scan_inputs(1, 5, 7, 20, 6, 3)]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        y = numba_cpu.selective_scan_2d(*leaves)
    assert y.dtype == torch.float32
    assert torch.equal(y, numba_cpu.selective_scan_2d(*(tensor.float() for tensor in inputs)))
    y.sum().backward()
    assert all(leaf.grad.dtype == dtype for leaf in leaves)


@pytest.mark.parametrize("position", range(6), ids=NAMES)
def test_one_input_alone_may_want_its_gradient(position):
    inputs = scan_inputs(1, 3, 5, 20, 6, 3)
    upstream = torch.ones_like(inputs[0])
    expected = values_and_gradients(numba_cpu.selective_scan_2d, inputs, upstream)
    inputs[position].requires_grad_()
    numba_cpu.selective_scan_2d(*inputs).backward(upstream)
    assert torch.equal(inputs[position].grad, expected[1 + position])
    assert all(tensor.grad is None for i, tensor in enumerate(inputs) if i != position)


@pytest.mark.parametrize("direction", range(4))
@pytest.mark.parametrize("number", range(4))
def test_published_scans_through_one_direction(number, direction, relative_rms):
    for golden in published_scans(number):
        errors = published_errors(numba_cpu.selective_scan_2d, golden, direction, relative_rms)
        assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("blocks", [2, 3, 5])
def test_channel_blocks_change_nothing(blocks, monkeypatch):
    inputs = scan_inputs(2, 5, 7, 5 * LANES - 3, 6, 3)
    whole = numba_cpu.selective_scan_2d(*inputs)
    monkeypatch.setattr(numba_cpu, "channel_blocks", lambda *_: blocks)
    assert torch.equal(numba_cpu.selective_scan_2d(*inputs), whole)


@pytest.mark.parametrize(
    ("channels", "tasks", "threads", "blocks"),
    [
        (192, 2, 1, 1),
        (208, 2, 1, 2),
        (368, 2, 2, 2),
        (80, 2, 2, 1),
        (80, 2, 8, 4),
        (LANES, 2, 64, 1),
        (192, 64, 64, 1),
    ],
)
def test_channels_are_split_for_the_cache_and_for_threads(
    channels, tasks, threads, blocks, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert numba_cpu.channel_blocks(channels, tasks) == blocks


def test_runs_repeat_to_the_bit():
    inputs = scan_inputs(3, 6, 5, 40, 6, 3)
    upstream = torch.ones_like(inputs[0])
    first, second = (
        values_and_gradients(numba_cpu.selective_scan_2d, inputs, upstream) for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_two_python_threads_at_once_do_not_disturb_each_other():
    images = [scan_inputs(2, 12, 9 + i % 3, 40, 6, 3) for i in range(12)]

    def run(inputs):
        return values_and_gradients(numba_cpu.selective_scan_2d, inputs, torch.ones_like(inputs[0]))

    alone = [run(inputs) for inputs in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(run, images))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
