"""No coefficient of a result leaves the cells of its file, however the file holds the picture."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding, coding_of_image
from mambair_cli.imaging.orientation import turn
from mambair_cli.pixels.jpeg_cells import DCT, JpegCells, reach_at

HEIGHT, WIDTH = 45, 70


def coding(subsampling="4:2:0", quality=50, mode="RGB", **options):
    buffer = io.BytesIO()
    picture = Image.new(mode, (64, 48))
    picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling, **options)
    return coding_of_image(Image.open(buffer))


def change(height=HEIGHT, width=WIDTH, channels=3):
    values = np.random.default_rng(0).normal(0, 60, (height, width, channels))
    return values.astype(np.float32)


def coefficients(plane):
    height, width = (side // 8 * 8 for side in plane.shape)
    blocks = plane[:height, :width].reshape(height // 8, 8, width // 8, 8)
    return DCT @ blocks.transpose(0, 2, 1, 3) @ DCT.T


def test_the_reach_falls_with_quality_to_nothing():
    reaches = [reach_at(quality) for quality in range(1, 101)]
    assert reaches == sorted(reaches, reverse=True)
    assert reaches[94] > 0
    assert set(reaches[95:]) == {0}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_luma_stays_in_its_cells_as_the_file_holds_it(orientation):
    found = coding()
    cells = JpegCells.of_file(found, 0.3, orientation, HEIGHT, WIDTH)
    limited = cells.limited(change(), 0, change())[..., 0]
    back = {6: 8, 8: 6}.get(orientation, orientation)
    moved = coefficients(turn(limited, back))
    assert (np.abs(moved) <= 0.3 * np.reshape(found.tables[0], (8, 8)) + 1e-3).all()
    assert np.abs(limited).max() > 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_chroma_stays_in_its_cells_at_its_own_resolution(subsampling):
    found = coding(subsampling)
    cells = JpegCells.of_file(found, 0.3, 1, 64, 96)
    down, across = cells.factors
    limited = cells.limited(change(64, 96), 0, change(64, 96))[..., 2]
    seen = limited.reshape(64 // down, down, 96 // across, across).mean(axis=(1, 3))
    assert (np.abs(coefficients(seen)) <= 0.3 * np.reshape(found.tables[2], (8, 8)) + 1e-3).all()


def test_a_small_change_passes_as_it_is():
    cells = JpegCells.of_file(coding(), 0.3, 1, HEIGHT, WIDTH)
    small = change() / 1000
    np.testing.assert_allclose(cells.limited(small, 0, small), small, atol=1e-5)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_parts_that_end_with_blocks_give_the_whole(orientation):
    cells = JpegCells.of_file(coding(), 0.3, orientation, HEIGHT, WIDTH)
    whole, start, parts = cells.limited(change(), 0, change()), 0, []
    for asked in (20, 38, HEIGHT):
        stop = asked if asked == HEIGHT else cells.whole(asked)
        assert stop <= asked
        parts.append(cells.limited(change()[start:stop], start, change()[start:stop]))
        start = stop
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_gray_file_has_no_chroma_to_move():
    cells = JpegCells.of_file(coding(mode="L"), 0.3, 1, HEIGHT, WIDTH)
    assert cells.limited(change(channels=1), 0, change(channels=1)).shape == (HEIGHT, WIDTH, 1)
    assert not cells.limited(change(), 0, change())[..., 1:].any()


@pytest.mark.parametrize("sampling", [((1, 1), (2, 2), (2, 2)), ((3, 1), (2, 1), (2, 1))])
def test_blocks_of_unusual_sampling_are_not_known(sampling):
    odd = JpegCoding(((16,) * 64,) * 3, sampling)
    assert JpegCells.of_file(odd, 0.3, 1, HEIGHT, WIDTH) is None


def test_of_a_blurred_picture_nothing_is_made_smaller_but_means_of_blocks():
    sharp = JpegCells.of_file(coding(), 0.3, 1, 64, 96)
    blurred, half = (replace(sharp, shrinking=share) for share in (0.0, 0.5))
    picture = np.cumsum(change(64, 96), axis=1) / 4
    held = coefficients(picture[..., 0])
    ordinary, kept, less = (
        cells.limited(change(64, 96), 0, picture) for cells in (sharp, blurred, half)
    )
    moved, now, between = (coefficients(each[..., 0]) for each in (ordinary, kept, less))
    shrinks = (moved * held < 0) & (np.abs(held) > 3)
    shrinks[..., 0, 0] = False
    assert 0.1 < shrinks.mean() < 0.9
    np.testing.assert_allclose(now, np.where(shrinks, 0, moved), atol=1e-3)
    np.testing.assert_allclose(between, np.where(shrinks, moved / 2, moved), atol=1e-3)
    np.testing.assert_array_equal(kept[..., 1:], ordinary[..., 1:])


def test_subsampled_chroma_of_fine_files_moves_less():
    """Texture of colours is taken for squares where hardly any squares are."""
    reach = {}
    for subsampling in ("4:4:4", "4:2:0"):
        for quality in (80, 92):
            found = coding(subsampling, quality)
            cells = JpegCells.of_file(found, 0.1, 1, 64, 96)
            table = np.reshape(found.tables[1], (8, 8))
            reach[subsampling, quality] = float((cells.chroma / table).mean())
    assert reach["4:2:0", 92] == pytest.approx(0.07)
    del reach["4:2:0", 92]
    assert list(reach.values()) == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("quality", [80, 92, 94, 95])
def test_of_what_a_fine_file_does_not_see_of_chroma_a_share_is_taken(quality):
    """There the network takes fine texture of colours for what was lost between the samples."""
    share = {80: 1.0, 92: 1.0, 94: 0.6, 95: 0.3}[quality]

    def between(picture):
        means = picture.reshape(32, 2, 48, 2, 2).mean(axis=(1, 3))
        return picture - means.repeat(2, axis=0).repeat(2, axis=1)

    moved = change(64, 96)
    cells = JpegCells.of_file(coding("4:2:0", quality), reach_at(quality), 1, 64, 96)
    limited = cells.limited(moved, 0, moved)
    np.testing.assert_allclose(
        between(limited[..., 1:]), share * between(moved[..., 1:]), atol=1e-3
    )
    whole = JpegCells.of_file(coding("4:4:4", quality), reach_at(quality), 1, 64, 96)
    assert whole.unseen == cells.unseen
    assert np.abs(whole.limited(moved, 0, moved)[..., 1:]).max() > 0.1
