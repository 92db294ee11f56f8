"""Streams of frames: restored one by one, coded as they came."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from restoring import one_by_one

from mambair_cli.batches.treatment.frames import restored_frames
from mambair_cli.errors import ImageError
from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader


def stream(fields: str, frames: int, *, lost: int = 0) -> FrameReader:
    header = StreamHeader.parse(f"YUV4MPEG2 {fields}\n".encode(), "it")
    random, file = np.random.default_rng(frames), io.BytesIO()
    file.write(header.line)
    for _ in range(frames):
        planes = (random.integers(0, 2**header.bits, s, header.dtype) for s in header.shapes)
        Frame(tuple(planes), b" Ip").written_to(file)
    return FrameReader(io.BytesIO(file.getvalue()[: -lost or None]), "it")


def restoring(change, seen=None):
    def image(source, _on_progress, on_notice):
        on_notice("seen")
        if seen is not None:
            seen.append(source.pixels)
        return change(source)

    return one_by_one(image, None)


def doubled(source):
    return replace(source, pixels=source.pixels.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("chroma", ["C420jpeg", "C420mpeg2", "C422p10", "C444", "Cmono"])
@pytest.mark.parametrize("alone", [False, True])
def test_unchanged_images_are_unchanged_frames(chroma, alone):
    fields = f"W22 H13 F24:1 {chroma} XCOLORRANGE=FULL"
    same = restoring(lambda source: replace(source, left_alone=alone))
    notices = []
    results = list(restored_frames(stream(fields, 3), same, notices.append))
    assert notices == ["seen"] * 3
    for (header, result), frame in zip(results, stream(fields, 3), strict=True):
        assert header == stream(fields, 3).header
        assert result.fields == b" Ip"
        for before, after in zip(frame.planes, result.planes, strict=True):
            np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("chroma", ["C420jpeg", "C422p10", "Cmono"])
def test_enlarged_frames_are_coded_alike(chroma):
    frames = stream(f"W21 H13 F24:1 A4:3 {chroma}", 2)
    before = frames.header
    for header, frame in restored_frames(frames, restoring(doubled), lambda _: None):
        assert header.line == before.line.replace(b"W21 H13", b"W42 H26")
        assert [plane.shape for plane in frame.planes] == list(header.shapes)
        assert frame.planes[0].dtype == before.dtype


def test_luma_follows_the_image_and_chroma_too():
    """A frame that becomes brighter and more blue, in codes that are reckoned by hand."""

    def bluer(source):
        assert source.pixels.shape == (4, 6, 3)
        pixels = np.broadcast_to(np.float32([0, 0, 1]), source.pixels.shape)
        return replace(source, pixels=pixels)

    black = b"YUV4MPEG2 W6 H4 C420jpeg\nFRAME\n" + b"\x10" * 24 + b"\x80" * 12
    ((_, frame),) = restored_frames(
        FrameReader(io.BytesIO(black), "it"), restoring(bluer), lambda _: None
    )
    assert [np.unique(plane).tolist() for plane in frame.planes] == [[41], [240], [110]]


def test_no_frame_is_read_before_the_one_in_front_was_taken():
    """Memory stays that of one frame however long the stream is."""
    seen = []
    results = restored_frames(stream("W22 H13", 5), restoring(doubled, seen), lambda _: None)
    for number in range(1, 6):
        next(results)
        assert len(seen) == number


def test_a_cut_stream_gives_what_was_whole():
    results = restored_frames(stream("W22 H13", 3, lost=9), restoring(doubled), lambda _: None)
    assert next(results)
    assert next(results)
    with pytest.raises(ImageError, match="it ends within frame 3"):
        next(results)
