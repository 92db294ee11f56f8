from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mambair_cli.training.degradations.compression import Jpeg, Subsampling, recoded
from mambair_cli.training.parsing import Span


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_it_is_what_pillow_makes(pixels: np.ndarray, subsampling: Subsampling) -> None:
    coded = io.BytesIO()
    Image.fromarray(pixels).save(coded, "JPEG", quality=35, subsampling=subsampling)
    assert np.array_equal(recoded(pixels, 35, subsampling), np.asarray(Image.open(coded)))


def test_blocks_begin_at_the_origin() -> None:
    ramp = np.repeat(np.arange(48, dtype=np.uint8)[None, :, None], 32, axis=0)
    for x in range(8):
        steps = np.abs(np.diff(recoded(ramp, 1, "4:4:4", (0, x))[..., 0].astype(int), axis=1))
        assert {int(i + 1 + x) % 8 for i in np.flatnonzero(steps.max(0) > 2)} <= {0}


def test_the_step_draws_quality_subsampling_and_grid(pixels: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    step = Jpeg("jpeg", Span(20, 60))
    assert len({step(pixels, generator).tobytes() for _ in range(8)}) == 8
    assert step(pixels[..., :1], generator).shape == (40, 56, 1)
