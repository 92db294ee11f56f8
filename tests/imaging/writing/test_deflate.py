"""A zlib stream put together from parts that were compressed side by side."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mambair_cli.imaging.writing import deflate
from mambair_cli.imaging.writing.deflate import deflated


@settings(max_examples=50, deadline=None)
@given(parts=st.lists(st.binary(max_size=3000), max_size=12), repeated=st.integers(1, 40))
def test_any_parts_are_read_back_by_zlib(parts, repeated):
    parts = [part * repeated for part in parts]
    assert zlib.decompress(b"".join(deflated(parts))) == b"".join(parts)


def test_almost_nothing_is_lost_by_the_parts():
    ramp = np.cumsum(np.random.default_rng(0).integers(0, 3, 2_000_000)).astype(np.uint8).tobytes()
    parts = [ramp[start : start + 2**18] for start in range(0, len(ramp), 2**18)]
    alone = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    whole = len(alone.compress(ramp) + alone.flush())
    assert len(b"".join(deflated(parts))) < 1.005 * whole


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_number_of_threads_changes_no_byte(monkeypatch, count):
    noise = np.random.default_rng(1).integers(0, 9, (20, 50_000), dtype=np.uint8)
    parts = [part.tobytes() for part in noise]
    expected = b"".join(deflated(parts))
    monkeypatch.setattr(deflate.os, "cpu_count", lambda: count)
    assert b"".join(deflated(parts)) == expected


def test_parts_are_taken_as_they_are_needed():
    taken = []

    def parts():
        for number in range(100):
            taken.append(number)
            yield bytes(100_000)

    stream = deflated(parts())
    begun = next(stream) + next(stream)
    assert len(taken) <= deflate._MOST_THREADS + 2
    assert zlib.decompress(begun + b"".join(stream)) == bytes(10_000_000)


def test_a_failing_source_stops_the_stream():
    def parts():
        yield bytes(1000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(deflated(parts()))
