from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mambair_cli.errors import RecipeError
from mambair_cli.pixels.color import rgb_to_ycbcr
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


COLOR = "mambair-tiny-dejpeg-color"


@pytest.fixture
def picture() -> np.ndarray:
    y, x = np.mgrid[:44, :52]
    waves = [np.sin(x * 0.4 + y * 0.1), np.sin(y * 0.3), np.sign(np.sin(x * 0.15 - y * 0.2))]
    return np.clip(128 + 80 * np.stack(waves, axis=-1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_blocks_are_taken_out_within_the_cells_of_the_file(
    picture: np.ndarray, subsampling: Subsampling
) -> None:
    left = recoded(picture, 30, subsampling, (3, 5))
    restored = recoded(picture, 30, subsampling, (3, 5), COLOR)
    truth = picture.astype(float)
    assert np.square(restored - truth).mean() < 0.9 * np.square(left - truth).mean()
    # libjpeg's first luminance step at quality 30 is 27: a mean over a block moves by a part of it.
    moved = (rgb_to_ycbcr(restored) - rgb_to_ycbcr(left))[5:37, 3:51, 0]
    assert np.abs(moved.reshape(4, 8, 6, 8).mean((1, 3))).max() < 27 * 0.35 / 8 + 0.5


def test_a_file_that_is_too_fine_is_left_as_it_is(picture: np.ndarray) -> None:
    fine = recoded(picture, 97, "4:4:4")
    assert np.array_equal(recoded(picture, 97, "4:4:4", restored_by=COLOR), fine)


@pytest.mark.parametrize(
    ("weights", "channels", "message"),
    [
        ("mambair-tiny-sr-x2", 3, "restored_by = 'mambair-tiny-sr-x2' is for sr, not for dejpeg"),
        (COLOR, 1, f"restored_by = '{COLOR}' has 3 channels, the samples 1"),
    ],
)
def test_weights_that_cannot_restore_the_samples(
    picture: np.ndarray, weights: str, channels: int, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        recoded(picture[..., :channels], 30, "4:4:4", restored_by=weights)
    assert caught.value.message == message
    assert caught.value.hint
