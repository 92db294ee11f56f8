"""Blocks of a JPEG file are found in pixels, and nothing where there were none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.jpeg_history import JpegHistory, find_history

CAT = Path(__file__).parents[2] / "examples" / "cat.png"


@pytest.fixture(scope="module")
def clean():
    return Image.open(CAT).convert("RGB")


def saved(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def found(picture):
    return find_history(rgb_to_ycbcr(np.asarray(picture))[..., 0])


def test_clean_noisy_and_resized_pictures_have_none(clean):
    noise = np.random.default_rng(0).normal(0, 10, (clean.height, clean.width, 3))
    noisy = np.clip(np.asarray(clean) + noise, 0, 255).round().astype(np.uint8)
    resized = saved(clean, 40).resize((150, 97), Image.Resampling.BICUBIC)
    for picture in (clean, noisy, resized, clean.crop((0, 0, 31, 20))):
        assert found(picture) is None


@pytest.mark.parametrize("quality", [10, 30, 60, 85])
def test_the_quality_and_where_blocks_begin(clean, quality):
    cut = saved(clean, quality).crop((3, 5, clean.width, clean.height))
    history = found(cut)
    assert (history.top, history.left) == (3, 5)
    assert abs(history.quality - quality) <= 2


def test_an_earlier_quality_under_a_finer_one(clean):
    cut = saved(clean, 30).crop((3, 5, clean.width, clean.height))
    assert found(saved(cut, 95)) == JpegHistory(30, 3, 5)


@pytest.mark.parametrize("levels", [(0, 0), (77, 77), (255, 255), (0, 200)])
def test_flat_pictures_and_drawings_of_few_blocks_have_none(levels):
    """Every block of a drawing may be the same: that its values are multiples of some is chance."""
    picture = Image.new("L", (225, 150), levels[0])
    picture.paste(levels[1], (0, 75, 225, 150))
    assert found(picture.convert("RGB")) is None
