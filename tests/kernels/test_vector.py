"""Vector functions inside compiled kernels against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernels_of_arrays import compiled

from mambair_cli.kernels import vector
from mambair_cli.kernels.lanes import first_equal, largest_of, total, totals
from mambair_cli.kernels.vector import (
    LANES,
    fma,
    load,
    load_part,
    maximum,
    minimum,
    splat,
    splat_at,
    store,
    store_part,
    where_negative,
)


@compiled(2)
def copy_part(source, target, first, at, count):
    store_part(target, at, load_part(source, first, count), count)


@compiled(2)
def load_part_whole(source, target, count):
    store(target, 0, load_part(source, 0, count))


@compiled(2, shorts=(1,))
def narrow_all(source, target, count):
    for v in range(0, count, LANES):
        store_part(target, v, load_part(source, v, count - v), count - v)


@compiled(2, shorts=(0,))
def widen_all(source, target, count):
    for v in range(0, count, LANES):
        store_part(target, v, load_part(source, v, count - v), count - v)


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


def bfloat16_bits(values):
    """Round with PyTorch; as the integers that kernels know."""
    return torch.tensor(values).bfloat16().view(torch.uint16).numpy()


def test_bfloat16_is_loaded_and_stored_as_pytorch_rounds():
    random = np.random.default_rng(2).normal(size=6 * LANES).astype(np.float32)
    odd = [0, -0.0, 1e-40, 3e38, -3.4e38, np.inf, -np.inf, 1.00390625, 1.01171875]
    # Two that are no number, by all bits and by the lowest.
    no_numbers = np.uint32([0xFFFFFFFF, 0x7F800001]).view(np.float32)
    values = np.concatenate([random, np.float32(odd), no_numbers])
    short, back = np.full(len(values) + 1, 7, np.uint16), np.full(len(values) + 1, 7, np.float32)
    narrow_all(values, short, len(values))
    np.testing.assert_array_equal(short[:-3], bfloat16_bits(values[:-2]))
    widen_all(short, back, len(values))
    expected = torch.tensor(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(back[:-1], expected)
    assert (short[-1], back[-1]) == (7, 7)


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


@compiled(3)
def find_largest(x, y, out):
    out[0] = largest_of(load(x, 0))
    out[1] = first_equal(load(x, 0), splat(out[0]))
    out[2] = first_equal(load(x, 0), load(y, 0))


@pytest.mark.parametrize("at", [0, 3, LANES - 1])
def test_the_largest_lane_and_where_it_is(at):
    x = np.arange(-LANES, 0, dtype=np.float32)
    x[at:] = x[at] = -0.5
    out = np.full(3, np.nan, np.float32)
    find_largest(x, np.full(LANES, np.nan, np.float32), out)
    np.testing.assert_array_equal(out, [-0.5, at, LANES])


def test_total_sums_every_lane():
    x = np.float32(2.0) ** np.arange(LANES, dtype=np.float32)
    out = np.empty(1, np.float32)
    sum_of_lanes(x, out)
    assert out[0] == 2**LANES - 1


def test_a_vector_fills_one_register_of_this_cpu():
    assert vector.LANES in (8, 16)
