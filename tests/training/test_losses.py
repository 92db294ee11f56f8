from __future__ import annotations

import math

import pytest
import torch

from mambair_cli.training.losses import charbonnier, l1


def test_values() -> None:
    restored, truth = torch.zeros(1, 3, 2, 5), torch.full((1, 3, 2, 5), 0.25)
    assert l1(restored, truth).item() == 0.25
    assert charbonnier(restored, truth).item() == pytest.approx(math.hypot(0.25, 1e-3))


def test_charbonnier_has_a_finite_gradient_where_the_images_agree() -> None:
    restored = torch.ones(1, 1, 2, 3, requires_grad=True)
    charbonnier(restored, torch.ones(1, 1, 2, 3)).backward()
    assert restored.grad is not None
    assert torch.equal(restored.grad, torch.zeros_like(restored.grad))
