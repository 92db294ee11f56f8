"""What networks are shown of an image."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.restoration.fitting import AS_TRAINED, Fitting

VALUES = torch.tensor([-0.2, 0.0, 0.25, 1.0, 1.1]).reshape(1, 1, 1, 5)


def test_an_image_is_shown_as_it_is():
    assert AS_TRAINED.shown(VALUES) is VALUES


def test_what_was_cut_off_reaches_beyond_black_and_white_again():
    """Values that never were cut off stay, inside and outside."""
    shown = Fitting(clipped=0.1).shown(VALUES)
    assert shown.flatten().tolist() == pytest.approx([-0.2, -0.1, 0.25, 1.1, 1.1])
    assert VALUES.flatten().tolist() == pytest.approx([-0.2, 0.0, 0.25, 1.0, 1.1])


def test_contrast_comes_after():
    shown = Fitting(contrast=0.5, clipped=0.1).shown(VALUES)
    assert shown.flatten().tolist() == pytest.approx([0.15, 0.2, 0.375, 0.8, 0.8])
