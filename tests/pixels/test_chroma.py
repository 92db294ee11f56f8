"""Chroma of fewer samples than luma: where they lie, and that they come back."""

from __future__ import annotations

import numpy as np
import pytest

from mambair_cli.imaging.y4m import Sampling
from mambair_cli.pixels.chroma import interpolated, projected

SAMPLINGS = [
    Sampling(2, 2, 0.5, 0.5),
    Sampling(2, 2, 0, 0.5),
    Sampling(2, 2, 0, 0),
    Sampling(2, 1),
    Sampling(1, 1),
    Sampling(4, 1),
]
named = pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)


def size(shape, sampling):
    return -(-shape[0] // sampling.down), -(-shape[1] // sampling.across)


def ramp(rows, columns):
    """Values that grow evenly over positions of luma."""
    rows, columns = np.asarray(rows, np.float32), np.asarray(columns, np.float32)
    return 0.25 + 0.01 * rows[:, None] + 0.02 * columns


@named
def test_samples_lie_where_the_sampling_says(sampling):
    shape = (40, 44)
    rows, columns = size(shape, sampling)
    low = ramp(
        sampling.top + sampling.down * np.arange(rows),
        sampling.left + sampling.across * np.arange(columns),
    )
    full = ramp(range(shape[0]), range(shape[1]))
    inside = np.s_[12:-12, 12:-12]
    enlarged = interpolated(low, sampling, shape)
    np.testing.assert_allclose(enlarged[inside], full[inside], atol=1e-6)
    back = projected(full, sampling, low.shape)
    np.testing.assert_allclose(back[6:-6, 6:-6], low[6:-6, 6:-6], atol=2e-4)


@named
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3, 5), (13, 22), (37, 50), (131, 533)])
def test_what_is_interpolated_comes_back(sampling, shape):
    low = np.random.default_rng(1).random(size(shape, sampling), np.float32)
    enlarged = interpolated(low, sampling, shape)
    assert enlarged.shape == shape
    assert enlarged.dtype == np.float32
    np.testing.assert_allclose(projected(enlarged, sampling, low.shape), low, atol=2e-6)


@named
def test_nothing_comes_nearer(sampling):
    random = np.random.default_rng(2)
    full = random.random((12, 20), np.float32)

    def distance(low):
        return float(np.square(interpolated(low, sampling, full.shape) - full).sum())

    best = projected(full, sampling, size(full.shape, sampling))
    for _ in range(5):
        other = best + random.normal(0, 0.01, best.shape).astype(np.float32)
        assert distance(best) <= distance(other)


@named
def test_one_colour_stays_one(sampling):
    flat = np.full((13, 22), 0.3, np.float32)
    low = projected(flat, sampling, size(flat.shape, sampling))
    np.testing.assert_allclose(low, 0.3, atol=1e-6)
    np.testing.assert_allclose(interpolated(low, sampling, flat.shape), 0.3, atol=1e-6)
