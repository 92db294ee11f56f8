"""How blurred an image is, measured on its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mambair_cli.pixels.blur import estimate_blur

CAT = Path(__file__).parents[2] / "examples" / "cat.png"


def luma(blur=0.0):
    picture = Image.open(CAT).convert("L")
    if blur:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(picture).astype(np.float32)


def test_a_sharp_picture():
    assert estimate_blur(luma()) < 0.8


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_a_blurred_one(sigma):
    assert estimate_blur(luma(sigma)) == pytest.approx(sigma, rel=0.35)


def test_pictures_without_edges():
    assert estimate_blur(np.full((50, 70), 9, np.float32)) == 0
    assert estimate_blur(luma()[:20, :50]) == 0
