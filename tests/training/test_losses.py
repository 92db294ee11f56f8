from __future__ import annotations

import math

import pytest
import torch

from mambair_cli.training.losses import charbonnier, l1, l1_fft, l2


def test_values() -> None:
    restored, truth = torch.zeros(1, 3, 2, 5), torch.full((1, 3, 2, 5), 0.25)
    assert l1(restored, truth).item() == 0.25
    assert charbonnier(restored, truth).item() == pytest.approx(math.hypot(0.25, 1e-3))
    assert l2(restored, truth).item() == 0.25**2


def test_l1_fft_adds_the_mean_modulus_of_the_spectrum() -> None:
    truth = torch.rand(2, 3, 4, 7, generator=torch.Generator().manual_seed(1))
    # A constant difference has one frequency, 0, of the 4 x 4 that are kept of a 4 x 7 image.
    amplitude = 0.25 * math.sqrt(4 * 7) / (4 * (7 // 2 + 1))
    assert l1_fft(truth + 0.25, truth).item() == pytest.approx(0.25 + 0.1 * amplitude, rel=1e-5)


@pytest.mark.parametrize("loss", [charbonnier, l2, l1_fft])
def test_a_loss_has_a_finite_gradient_where_the_images_agree(loss) -> None:
    restored = torch.ones(1, 1, 2, 3, requires_grad=True)
    loss(restored, torch.ones(1, 1, 2, 3)).backward()
    assert restored.grad is not None
    assert torch.equal(restored.grad, torch.zeros_like(restored.grad))
