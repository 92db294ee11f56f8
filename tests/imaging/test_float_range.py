import numpy as np
import pytest

from mambair_cli.imaging.float_range import measured, told
from mambair_cli.imaging.image import ValueRange

FLOAT = np.dtype(np.float32)


def noisy(sigma, *outliers):
    generator = np.random.default_rng(0)
    clean = np.linspace(0, 1, 60 * 80 * 3, dtype=np.float32).reshape(60, 80, 3)
    values = (clean + generator.normal(0, sigma / 255, clean.shape)).astype(np.float32)
    for place, value in enumerate(outliers):
        values[place, place] = value
    return values


def span_of(values):
    return measured([values], values.size)


def test_all_within():
    assert span_of(np.linspace(0, 1, 99, dtype=np.float32)) is None
    assert span_of(np.full((1, 1, 1), 0.5, np.float32)) is None


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_noise_is_near(sigma):
    values = noisy(sigma)
    span = span_of(values)
    assert span == ValueRange(float(values.min()), float(values.max()))
    assert ValueRange.shown(FLOAT, span) == ValueRange(0, 1)
    assert told(span) == ()


@pytest.mark.parametrize("outliers", [(100,), (100, -40, 7), (1e30,)])
def test_a_few_values_do_not_make_white(outliers):
    values = noisy(25, *outliers)
    assert ValueRange.shown(FLOAT, span_of(values)) == ValueRange(0, 1)
    assert span_of(values * 1000).white < 1300


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (-1000, 3000), (0, 4)])
def test_far_outside(low, high):
    values = np.linspace(low, high, 60 * 80, dtype=np.float32)
    span = span_of(values)
    assert span == ValueRange(min(low, 0), high)
    assert ValueRange.shown(FLOAT, span) == span
    assert told(span) == (f"values from {min(low, 0)} to {high} shown to the network as 0 to 1",)


def test_parts_are_the_whole():
    for values in (noisy(25, 100, 9), noisy(25) * 300 - 90):
        parts = (values[top : top + 7] for top in range(0, 60, 7))
        assert measured(parts, values.size) == span_of(values)
