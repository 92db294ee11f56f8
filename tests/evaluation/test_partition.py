"""The authors' partition: what the network sees of an image, and what is kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambair_cli.evaluation.partition import Part, padded_side, parts_of, restore_in_parts


@pytest.mark.parametrize(
    ("side", "count", "size"),
    [(1, 1, 1), (199, 1, 199), (200, 2, 100), (321, 2, 161), (640, 4, 160)],
)
def test_an_axis_is_cut_into_parts_of_one_size(side, count, size):
    parts = parts_of(side)
    assert len(parts) == count
    assert {part.keep_stop - part.keep_start for part in parts} == {size}
    assert padded_side(side) == count * size


def test_parts_reach_a_tenth_into_their_neighbours():
    assert parts_of(481) == [
        Part(0, 161 + 16, 0, 161),
        Part(161 - 16, 322 + 16, 161, 322),
        Part(322 - 16, 483, 322, 483),
    ]


@given(st.integers(1, 3000))
def test_parts_keep_every_pixel_once(side):
    parts = parts_of(side)
    kept = [pixel for part in parts for pixel in range(part.keep_start, part.keep_stop)]
    assert kept == list(range(padded_side(side)))
    assert all(part.start <= part.keep_start < part.keep_stop <= part.stop for part in parts)


def test_each_pixel_comes_from_its_own_part():
    """A network that answers with the number of its call shows which part a pixel is from."""
    calls = []

    def restore(x):
        calls.append(tuple(x.shape[2:]))
        return torch.full((1, 3, 2 * x.shape[2], 2 * x.shape[3]), float(len(calls)))

    restored = restore_in_parts(restore, torch.rand(1, 3, 205, 401), 2)
    assert restored.shape == (1, 3, 410, 802)
    # 205 rows in two parts of 103, 401 columns in three of 134.
    assert calls == [
        *((113, width) for width in (147, 160, 147)),
        *((113, width) for width in (147, 160, 147)),
    ]
    assert restored[0, 0, 0, :268].unique().tolist() == [1]
    assert restored[0, 0, 0, 268:536].unique().tolist() == [2]
    assert restored[0, 0, 206:, 536:].unique().tolist() == [6]


def test_what_does_not_look_around_is_restored_as_a_whole_image_is():
    x = torch.rand(1, 3, 260, 233)
    assert torch.equal(restore_in_parts(lambda part: part * 2, x, 1), x * 2)


def test_progress_counts_parts():
    told = []
    restore_in_parts(
        lambda part: part,
        torch.rand(1, 1, 250, 90),
        1,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(0, 2), (1, 2), (2, 2)]
