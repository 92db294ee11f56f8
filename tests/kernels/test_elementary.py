"""Functions made of exponentials, inside compiled kernels, against float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kernels_of_arrays import compiled

from mambair_cli.kernels.elementary import (
    exp2,
    exp2_of_product,
    normal_cumulative,
    normal_density,
    sigmoid,
    softplus,
)
from mambair_cli.kernels.vector import LANES, load, store

FUNCTIONS = ("exp2", "softplus", "sigmoid", "normal_density", "normal_cumulative")
EXTREMES = [-1e30, -1e4, -150.0, -1.0, 0.0, 1.0, 80.0, 1e4, 1e30]


@compiled(2)
def every_function(x, out, size):
    for v in range(0, size, LANES):
        value = load(x, v)
        store(out, v, exp2(value))
        store(out, size + v, softplus(value))
        store(out, 2 * size + v, sigmoid(value))
        store(out, 3 * size + v, normal_density(value))
        store(out, 4 * size + v, normal_cumulative(value))


@compiled(3)
def power_of_product(a, b, out, size):
    for v in range(0, size, LANES):
        store(out, v, exp2_of_product(load(a, v), load(b, v)))


def evaluate(values: np.ndarray) -> dict[str, np.ndarray]:
    """Each function of float32 values, as float64."""
    x = np.zeros(len(values) + -len(values) % LANES, np.float32)
    x[: len(values)] = values
    out = np.full((len(FUNCTIONS), x.size), np.nan, np.float32)
    every_function(x, out, x.size)
    return dict(zip(FUNCTIONS, out[:, : len(values)].astype(np.float64), strict=True))


def exact(name: str, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return {
            "exp2": lambda: np.exp2(x),
            "softplus": lambda: np.logaddexp(0, x),
            "sigmoid": lambda: np.exp(-np.logaddexp(0, -x)),
            "normal_density": lambda: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
            "normal_cumulative": lambda: np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x]),
        }[name]()


@pytest.mark.parametrize(
    ("name", "low", "high", "tolerance"),
    [
        ("exp2", -126, 127, 2e-7),
        ("exp2", -1e-3, 1e-3, 1e-7),
        ("softplus", -5, 90, 5e-7),
        ("softplus", -80, -5, 5e-6),  # rounding of the exponent grows with its size
        ("sigmoid", -5, 90, 5e-7),
        ("sigmoid", -80, -5, 5e-6),
        ("normal_density", -3, 3, 8e-7),
    ],
)
def test_relative_error(name, low, high, tolerance):
    x = np.linspace(low, high, 40_001).astype(np.float32)
    expected = exact(name, x)
    assert np.abs(evaluate(x)[name] / expected - 1).max() < tolerance


def test_absolute_error_of_the_normal_distribution():
    x = np.linspace(-12, 12, 40_001).astype(np.float32)
    result = evaluate(x)["normal_cumulative"]
    assert np.abs(result - exact("normal_cumulative", x)).max() < 3e-7
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("name", FUNCTIONS[1:])
def test_extremes_are_finite_and_right(name):
    x = np.float32(EXTREMES)
    np.testing.assert_allclose(evaluate(x)[name], exact(name, x), rtol=1e-6, atol=2e-7)


def test_exp2_is_exact_at_whole_numbers_and_stops_at_the_smallest_normal():
    whole = np.arange(-126, 128)
    np.testing.assert_array_equal(evaluate(whole)["exp2"], np.exp2(whole.astype(np.float64)))
    far = evaluate(np.float32([-126.6, -200, -1e4, -1e38, -np.inf]))["exp2"]
    np.testing.assert_array_equal(far, np.full(5, 2.0**-126))


def test_the_decay_of_a_zero_step_is_exactly_one():
    assert evaluate(np.float32([0.0, -0.0]))["exp2"].tolist() == [1.0, 1.0]


def of_product(steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
    count = len(steps)
    a, b, out = (np.zeros(count + -count % LANES, np.float32) for _ in range(3))
    a[:count], b[:count] = steps, rates
    power_of_product(a, b, out, out.size)
    return out[:count].astype(np.float64)


@pytest.mark.parametrize("rate", [-1.4427, -23.1, -0.01])
def test_the_decay_of_a_step_is_as_exact_as_float32(rate):
    steps = np.geomspace(1e-6, 5, 40_001).astype(np.float32)
    exact_decay = np.exp2(steps.astype(np.float64) * np.float64(np.float32(rate)))
    decay = of_product(steps, np.full_like(steps, rate))
    # Of a product that is rounded before its power is taken.
    np.testing.assert_allclose(decay, exact_decay, rtol=7e-6, atol=0)
    near_one = exact_decay > 0.9
    np.testing.assert_allclose(decay[near_one], exact_decay[near_one], rtol=0, atol=1.2e-7)
    # Nothing that a thousand steps would add up.
    assert abs((decay[near_one] - exact_decay[near_one]).mean()) < 1e-8


def test_decays_of_no_step_and_of_endless_steps():
    decay = of_product(np.float32([0, 3, 0, 90, 1e6, 1e30]), np.float32([-5, 0, 0, -20, -9, -1e8]))
    assert decay[:3].tolist() == [1, 1, 1]
    assert decay[3:].max() <= 2.0**-126
    assert decay[3:].min() >= 0
