import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mambair_cli.errors import UsageError
from mambair_cli.restoration.tiling import (
    SMALLEST_TILE,
    Mosaic,
    plan_axis,
    plan_grid,
    validate_tiling,
)


@st.composite
def tilings(draw):
    tile = draw(st.integers(SMALLEST_TILE, 96))
    return draw(st.integers(1, 5 * tile)), tile, draw(st.integers(0, tile // 2))


@pytest.mark.parametrize("tile", [16, 50, 64, 200])
@pytest.mark.parametrize("share", [0, 8, 4, 2])
def test_no_sliver_for_any_width_up_to_three_tiles(tile, share):
    overlap = tile // share if share else 0
    for side in range(1, 3 * tile + 1):
        axis = plan_axis(side, tile, overlap)
        assert min(side, tile / 2) <= axis.size <= tile, side


@settings(deadline=None)
@given(tilings())
def test_tiles_cover_the_axis_and_share_the_overlap(tiling):
    side, tile, overlap = tiling
    axis = plan_axis(side, tile, overlap)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.size == side
    for start, following in pairwise(axis.starts):
        assert start < following <= start + axis.size - overlap


@settings(deadline=None)
@given(tilings(), st.integers(1, 4))
def test_weights_sum_to_one_everywhere(tiling, scale):
    side, tile, overlap = tiling
    axis = plan_axis(side, tile, overlap)
    total = torch.zeros(side * scale)
    for start, weights in zip(axis.starts, axis.weights(scale), strict=True):
        assert weights.min() >= 0
        total[start * scale : (start + axis.size) * scale] += weights
    torch.testing.assert_close(total, torch.ones(side * scale), rtol=0, atol=3e-7)


@settings(deadline=None)
@given(tilings(), st.integers(1, 4))
def test_weights_are_one_at_the_border_of_the_image_and_nothing_beside_a_cut(tiling, scale):
    side, tile, overlap = tiling
    axis = plan_axis(side, tile, overlap)
    weights = axis.weights(scale)
    assert weights[0][0] == 1
    assert weights[-1][-1] == 1
    margin = overlap // 4 * scale
    for left, right in pairwise(weights):
        assert not left[len(left) - margin :].any()
        assert not right[:margin].any()


def restore_tiles(x, grid, scale, restore, on_tile=lambda: None, size=1):
    height, width = x.shape[2:]
    mosaic = Mosaic(
        torch.full((1, x.shape[1], height * scale, width * scale), torch.nan), grid, scale
    )
    for batch in mosaic.batches(x, size):
        mosaic.add(restore(batch), on_tile)
    assert mosaic.done == len(grid)
    return mosaic.canvas


def small_receptive_field(radius, scale):
    """A network without padding tricks: zeros beyond its input, as a convolution has."""
    kernel = torch.rand(3, 1, 2 * radius + 1, 2 * radius + 1)
    kernel /= kernel.sum() / 3

    def restore(x):
        filtered = functional.conv2d(x, kernel, padding=radius, groups=3)
        return functional.interpolate(torch.sin(3 * filtered), scale_factor=scale)

    return restore


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 150), st.integers(1, 150), st.sampled_from([0, 33, 48, 64]), st.integers(1, 3)
)
def test_tiled_is_whole_for_a_small_receptive_field(height, width, tile, scale):
    torch.manual_seed(height * 1000 + width)
    overlap = 16
    restore = small_receptive_field(overlap // 4, scale)
    x = torch.rand(1, 3, height, width)
    tiled = restore_tiles(x, plan_grid(height, width, tile, overlap), scale, restore, lambda: None)
    torch.testing.assert_close(tiled, restore(x), rtol=0, atol=2e-6)


def test_only_tiles_of_one_shape_reach_the_network():
    shapes = []

    def restore(tile):
        shapes.append(tuple(tile.shape))
        return tile

    x = torch.rand(1, 3, 131, 77)
    grid = plan_grid(131, 77, 40, 8)
    restored = restore_tiles(x, grid, 1, restore, lambda: None)
    assert len(shapes) == len(grid) > 1
    assert len(set(shapes)) == 1
    assert max(shapes[0][2:]) <= 40
    torch.testing.assert_close(restored, x)


def test_a_constant_offset_of_one_tile_fades_out_without_a_step():
    first = True

    def restore(tile):
        nonlocal first
        offset, first = float(first), False
        return torch.full_like(tile, offset)

    grid = plan_grid(20, 100, 64, 32)
    blended = restore_tiles(torch.rand(1, 1, 20, 100), grid, 1, restore, lambda: None)
    assert blended[..., 0].eq(1).all()
    assert blended[..., -1].eq(0).all()
    assert blended.diff(dim=3).abs().max() <= 1 / 14


def test_tiles_are_counted():
    count = 0

    def on_tile():
        nonlocal count
        count += 1

    grid = plan_grid(50, 90, 32, 8)
    restore_tiles(torch.rand(1, 3, 50, 90), grid, 2, lambda x: x.repeat(1, 1, 2, 2), on_tile)
    assert count == len(grid)


def test_half_precision_tiles_are_accumulated_in_float32():
    x = torch.full((1, 3, 40, 90), 1 / 3)
    blended = restore_tiles(
        x, plan_grid(40, 90, 32, 16), 1, lambda tile: tile.bfloat16(), lambda: None
    )
    assert blended.dtype == torch.float32
    torch.testing.assert_close(blended, x.bfloat16().float(), rtol=0, atol=2e-7)


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (64, -1, "overlap -1 is negative"),
        (8, 0, "tile 8 is too small: the least is 16 pixels"),
        (-64, 0, "tile -64 is too small: the least is 16 pixels"),
        (64, 33, "overlap 33 is more than half of tile 64"),
    ],
)
def test_impossible_tilings_are_refused(tile, overlap, message):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$") as caught:
        validate_tiling(tile, overlap)
    assert caught.value.hint


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (0, 500), (64, 32), (16, 0)])
def test_possible_tilings_are_accepted(tile, overlap):
    validate_tiling(tile, overlap)


@pytest.mark.parametrize(("tile", "size"), [(0, 2), (0, 5), (32, 4), (32, 99)])
def test_images_of_one_size_share_batches_and_stay_apart(tile, size):
    scale, shapes = 2, []
    restore, images = small_receptive_field(2, scale), torch.rand(5, 3, 41, 70)
    grid = plan_grid(41, 70, tile, 8)

    def counted(x):
        shapes.append(len(x))
        return restore(x)

    mosaic = Mosaic(torch.full((5, 3, 82, 140), torch.nan), grid, scale)
    for batch in mosaic.batches(images, size):
        mosaic.add(counted(batch), lambda: None)
    assert mosaic.done == mosaic.tiles == 5 * len(grid)
    assert len(shapes) == -(-5 * len(grid) // size)
    for image, restored in zip(images, mosaic.canvas, strict=True):
        expected = restore_tiles(image[None], grid, scale, restore)
        torch.testing.assert_close(restored[None], expected, rtol=0, atol=1e-6)
    assert not mosaic.advance()
