"""Vector functions inside compiled kernels against float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mambair_cli.kernels import vector
from mambair_cli.kernels.numba_compiler import kernel, machine_code
from mambair_cli.kernels.vector import (
    LANES,
    exp2,
    fma,
    load,
    load_part,
    maximum,
    minimum,
    normal_cumulative,
    normal_density,
    sigmoid,
    softplus,
    splat,
    splat_at,
    store,
    store_part,
    total,
    totals,
    where_negative,
)

FUNCTIONS = ("exp2", "softplus", "sigmoid", "normal_density", "normal_cumulative")
EXTREMES = [-1e30, -1e4, -150.0, -1.0, 0.0, 1.0, 80.0, 1e4, 1e30]


def compiled(floats: int):
    """A function of arrays and integers, made of one for kernels."""

    def typed(function):
        entry = machine_code(kernel(floats=floats)(function)).loaded()

        def call(*arguments):
            entry(*(a if isinstance(a, int) else a.ctypes.data for a in arguments))

        return call

    return typed


@compiled(2)
def every_function(x, out, size):
    for v in range(0, size, LANES):
        value = load(x, v)
        store(out, v, exp2(value))
        store(out, size + v, softplus(value))
        store(out, 2 * size + v, sigmoid(value))
        store(out, 3 * size + v, normal_density(value))
        store(out, 4 * size + v, normal_cumulative(value))


@compiled(2)
def copy_part(source, target, first, at, count):
    store_part(target, at, load_part(source, first, count), count)


@compiled(2)
def load_part_whole(source, target, count):
    store(target, 0, load_part(source, 0, count))


@compiled(3)
def pairs(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, maximum(x, y))
    store(out, LANES, minimum(x, y))
    store(out, 2 * LANES, where_negative(x, y, splat(np.float32(7))))
    store(out, 3 * LANES, fma(x, y, splat_at(b, 1)))


@compiled(2)
def sum_of_lanes(x, out):
    out[0] = total(load(x, 0))


@compiled(2)
def sums_of_rows(x, out, first):
    store(out, 0, totals(x, first))


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


@pytest.mark.parametrize("count", [0, 1, 3, LANES - 1, LANES, LANES + 5])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_parts_touch_nothing_beyond_their_count(count, offset):
    source = np.arange(1, 3 * LANES, dtype=np.float32)
    target = np.full(3 * LANES, -1, np.float32)
    copy_part(source, target, offset, 2, count)
    expected = np.full(3 * LANES, -1, np.float32)
    copied = min(count, LANES)
    expected[2 : 2 + copied] = source[offset : offset + copied]
    np.testing.assert_array_equal(target, expected)


def test_lanes_beyond_a_part_are_zero():
    target = np.full(LANES, np.nan, np.float32)
    load_part_whole(np.ones(3, np.float32), target, 3)
    assert target.tolist() == [1, 1, 1] + [0] * (LANES - 3)


def test_choices_in_each_lane():
    a, b = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    a[:4], b[:4] = [-2, 3, np.nan, 1], [1, 2, 5, np.nan]
    out = np.empty((4, LANES), np.float32)
    pairs(a, b, out)
    np.testing.assert_array_equal(out[0, :4], [1, 3, 5, np.nan])
    np.testing.assert_array_equal(out[1, :4], [-2, 2, 5, np.nan])
    np.testing.assert_array_equal(out[2, :4], [1, 7, 7, 7])
    np.testing.assert_array_equal(out[3, :2], [0, 8])


def test_totals_sum_each_vector_into_its_own_lane():
    rows = np.random.default_rng(1).random((LANES + 1, LANES), np.float32)
    out = np.empty(LANES, np.float32)
    sums_of_rows(rows, out, LANES)
    np.testing.assert_allclose(out, rows[1:].sum(1), rtol=1e-6)


def test_total_sums_every_lane():
    x = np.float32(2.0) ** np.arange(LANES, dtype=np.float32)
    out = np.empty(1, np.float32)
    sum_of_lanes(x, out)
    assert out[0] == 2**LANES - 1


def test_a_vector_fills_one_register_of_this_cpu():
    assert vector.LANES in (8, 16)
