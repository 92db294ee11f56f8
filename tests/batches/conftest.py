"""A soft scene, and a file of it with coarse noise."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def shots():
    """A soft scene, and a JPEG file of it with noise that neighbours share."""
    y, x = np.mgrid[0:440, 0:480].astype(np.float64)
    shade = 110 + 60 * np.sin(x / 40) * np.cos(y / 55) + 25 * np.tanh(np.sin(x / 17 + y / 29) * 3)
    scene = np.stack([shade, 0.9 * shade + 10, 0.7 * shade + 40], 2)
    white = np.random.default_rng(0).standard_normal((442, 482, 3))
    noise = sum(white[i : i + 440, j : j + 480] for i in range(3) for j in range(3)) / 3
    buffer = io.BytesIO()
    noisy = np.rint(scene + 4 * noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "JPEG", quality=75)
    return np.rint(scene).clip(0, 255).astype(np.uint8), Image.open(buffer)
