"""Which tiles follow from the memory there is."""

from __future__ import annotations

import re

import pytest

from mambair_cli.errors import MemoryLimitError
from mambair_cli.restoration.memory.tile_size import (
    LARGEST_AUTO_TILE,
    PLANNED_SHARE,
    SMALLEST_AUTO_TILE,
    auto_tile,
    fitting,
)

GIB = 2**30


def test_an_image_that_fits_runs_whole():
    assert auto_tile(3000, 4000, 1000, 40 * GIB) == 0


def test_an_image_that_does_not_fit_runs_in_the_largest_tile_that_does():
    tile = auto_tile(3000, 4000, 10_000, 2 * GIB)
    assert tile % 8 == 0
    assert tile**2 * 10_000 <= PLANNED_SHARE * 2 * GIB < (tile + 8) ** 2 * 10_000


def test_tiles_are_capped():
    assert auto_tile(30_000, 40_000, 1000, 40 * GIB) == LARGEST_AUTO_TILE


def test_tiles_have_a_floor():
    assert auto_tile(500, 600, 10_000, 64 * 64 * 10_000) == SMALLEST_AUTO_TILE


def test_too_little_for_the_smallest_tile_is_an_error():
    message = "the smallest tile needs 39 MiB of memory, 38 MiB are available"
    with pytest.raises(MemoryLimitError, match=f"^{re.escape(message)}$") as caught:
        auto_tile(500, 600, 10_000, 38 * 2**20)
    assert caught.value.hint


def test_a_narrow_image_needs_less_than_a_square_tile():
    assert auto_tile(1, 3000, 10_000, 51_000_000) == 0


@pytest.mark.parametrize(("available", "images"), [(0, 1), (200, 1), (400, 2), (9000, 54)])
def test_as_many_images_as_fit(available, images):
    assert fitting(10, 10, available) == images
