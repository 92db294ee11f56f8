"""The plain loop against the published scan, and the four orders in which it visits an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scan_cases import scan_inputs

from mambair_cli.kernels.scan import reference

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
INPUTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")


@pytest.mark.parametrize("number", range(4))
def test_values_and_gradients_agree_with_the_published_scan(number, relative_rms):
    golden = load_file(GOLDEN / f"selective_scan_{number}.safetensors")
    inputs = {name: golden[name].requires_grad_() for name in INPUTS}
    y = reference.selective_scan(**inputs)
    y.backward(golden["grad_y"])
    assert relative_rms(y.detach(), golden["y"]) < 1e-4
    for name, tensor in inputs.items():
        assert relative_rms(tensor.grad, golden[f"grad_{name}"]) < 1e-4, name


def test_directions_are_rows_columns_and_both_reversed():
    image = torch.arange(6).view(1, 2, 3, 1)
    assert reference.to_sequences(image, 4)[0, :, 0].tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_folding_puts_every_direction_back_on_its_pixels():
    image = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    sequences = reference.to_sequences(image, 4)
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(4, 1, 1)
    assert torch.equal(reference.from_sequences(sequences * weights, 3, 5), 1111 * image)


def test_one_direction_is_the_first_of_four():
    inputs = scan_inputs(2, 3, 5, 4, 3, 2)
    inputs[-1] = torch.zeros_like(inputs[-1])
    u, projected, *parameters = inputs
    first = projected[..., : projected.shape[-1] // 4]
    alone = reference.selective_scan_2d(u, first, *(p[:1] for p in parameters))
    # Without C the other directions are silent.
    silenced = projected.clone()
    silenced.view(2, 3, 5, 4, -1)[..., 1:, -3:] = 0
    assert torch.allclose(alone, reference.selective_scan_2d(u, silenced, *parameters))


def test_a_scan_sees_the_past_of_its_direction_only():
    torch.manual_seed(0)
    b, h, w, d, n, r = 1, 3, 4, 2, 3, 2
    u = torch.randn(b, h, w, d).requires_grad_()
    projected = torch.randn(b, h, w, 4 * (r + 2 * n))
    D = torch.zeros(4, d)
    A, weight, bias = -torch.rand(4, d, n), torch.randn(4, d, r), torch.zeros(4, d)
    projected.view(b, h, w, 4, -1)[..., 1:, -n:] = 0  # C: only along the rows
    y = reference.selective_scan_2d(u, projected, weight, bias, A, D)
    y[0, 1, 1].sum().backward()
    reached = u.grad.abs().sum(-1).flatten() > 0
    assert reached.tolist() == [pixel <= 1 * w + 1 for pixel in range(h * w)]
