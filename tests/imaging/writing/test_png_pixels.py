"""Pixels of PNG on their way through libvips: a part at a time, in the caller's thread."""

import contextlib
import threading
import zlib

import numpy as np
import pytest
import pyvips

from mambair_cli.imaging.image import ImageHeader
from mambair_cli.imaging.writing.png_pixels import chunk, compressed

WIDTH, ROWS, BANDS = 400, 30, 100
HEADER = ImageHeader(WIDTH, ROWS * BANDS, 3, np.dtype(np.uint8))


def noise(taken=None):
    for seed in range(BANDS):
        if taken is not None:
            taken.append(threading.current_thread())
        yield np.random.default_rng(seed).integers(0, 256, (ROWS, WIDTH, 3), dtype=np.uint8)


def test_bands_are_made_as_they_are_needed_where_they_are_asked_for():
    taken = []
    with contextlib.closing(compressed(HEADER, noise(taken))) as contents:
        begun = next(contents)
        assert 0 < len(taken) < BANDS // 2
        whole = begun + b"".join(contents)
    assert set(taken) == {threading.current_thread()}
    lines = np.frombuffer(zlib.decompress(whole), np.uint8).reshape(ROWS * BANDS, 1 + 3 * WIDTH)
    plain = lines[:, 0] == 0  # not filtered
    assert plain.any()
    pixels = np.concatenate(list(noise())).reshape(len(lines), -1)
    np.testing.assert_array_equal(lines[plain, 1:], pixels[plain])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_number_of_threads_changes_no_byte(count):
    expected = list(compressed(HEADER, noise()))
    before = pyvips.concurrency_get()
    pyvips.concurrency_set(count)
    try:
        assert list(compressed(HEADER, noise())) == expected
    finally:
        pyvips.concurrency_set(before)


def test_who_stops_asking_ends_the_thread():
    before = set(threading.enumerate())
    taken = []
    with contextlib.closing(compressed(HEADER, noise(taken))) as contents:
        next(contents)
    started = set(threading.enumerate()) - before
    assert not [thread for thread in started if "ThreadPool" in thread.name]
    assert len(taken) < BANDS // 2


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_failing_maker_stops_the_stream(failure):
    def bands():
        yield np.zeros((ROWS, WIDTH, 3), np.uint8)
        raise failure("of the maker")

    with pytest.raises(failure, match=r"^of the maker$"):
        list(compressed(HEADER, bands()))


def test_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match="libpng read error"):
        list(compressed(HEADER, [np.zeros((ROWS, WIDTH, 3), np.uint8)]))


def test_once_libvips_has_failed_no_more_bands_are_made(monkeypatch):
    def refuse(*_, **__):
        raise pyvips.Error("cannot save", "pngsave_target: out of memory")

    monkeypatch.setattr(pyvips.Image, "pngsave_target", refuse, raising=False)
    taken = []
    with pytest.raises(ValueError, match="out of memory"):
        list(compressed(HEADER, noise(taken)))
    assert len(taken) < BANDS


def test_a_chunk_holds_less_than_2_gib():
    class Huge(bytes):
        def __len__(self):
            return 2**31

    with pytest.raises(ValueError, match=r"^a chunk of PNG holds at most 2 GiB, eXIf has 2147483"):
        chunk(b"eXIf", Huge())
