"""YUV4MPEG2 streams: what their lines say, frames that are cut, streams that are none."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from mambair_cli.errors import ImageError
from mambair_cli.imaging.y4m import Frame, FrameReader, Sampling, StreamHeader


def header(fields: str) -> StreamHeader:
    return StreamHeader.parse(f"YUV4MPEG2 {fields}\n".encode(), "the stream")


@pytest.mark.parametrize(
    ("chroma", "sampling", "bits"),
    [
        ("", Sampling(2, 2, 0.5, 0.5), 8),
        ("C420", Sampling(2, 2, 0.5, 0.5), 8),
        ("C420jpeg", Sampling(2, 2, 0.5, 0.5), 8),
        ("C420mpeg2", Sampling(2, 2, 0, 0.5), 8),
        ("C420paldv", Sampling(2, 2, 0, 0), 8),
        ("C420p10", Sampling(2, 2, 0, 0.5), 10),
        ("XYSCSS=420MPEG2", Sampling(2, 2, 0, 0.5), 8),
        ("C422", Sampling(2, 1), 8),
        ("C422p10 XYSCSS=422P10", Sampling(2, 1), 10),
        ("C444", Sampling(1, 1), 8),
        ("C444p12", Sampling(1, 1), 12),
        ("C411", Sampling(4, 1), 8),
        ("Cmono", None, 8),
        ("Cmono10", None, 10),
    ],
)
def test_chroma_and_depth(chroma, sampling, bits):
    read = header(f"W7 H5 {chroma}")
    assert (read.sampling, read.bits) == (sampling, bits)
    assert read.dtype == ("u1" if bits == 8 else "<u2")


@pytest.mark.parametrize(
    ("chroma", "shape"),
    [("C420jpeg", (3, 4)), ("C422", (5, 4)), ("C444", (5, 7)), ("C411", (5, 2))],
)
def test_odd_sides_have_chroma_for_their_last_row_and_column(chroma, shape):
    assert header(f"W7 H5 {chroma}").shapes == ((5, 7), shape, shape)


def test_what_the_line_says_stays_but_for_the_size():
    fields = "W704 H480 F30000:1001 Ip A10:11 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL Xmine"
    read = header(fields)
    assert read.line == f"YUV4MPEG2 {fields}\n".encode()
    assert read.full_range
    assert read.resized(1408, 960).line == read.line.replace(b"W704 H480", b"W1408 H960")
    assert not header("W704 H480 XCOLORRANGE=LIMITED").full_range
    assert not header("W704 H480").full_range


@pytest.mark.parametrize("letter", ["t", "b", "m"])
def test_interlaced_frames_are_refused(letter):
    with pytest.raises(ImageError, match="is interlaced") as caught:
        header(f"W704 H480 I{letter}")
    assert "bwdif" in str(caught.value.hint)
    assert header("W704 H480 I?").width == 704


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "the stream is empty (0 bytes)"),
        (b"RIFF\x10\x00 AVI LIST more", "the stream is no Y4M stream: it begins with b'RIFF"),
        (b"YUV4MPEG2 W7 H5", "the stream is no Y4M stream"),  # and no end of the line
        (b"YUV4MPEG2 W7 H5 " + b"X" * 9999, "its first line does not end within 4096 bytes"),
        (b"YUV4MPEG2 H5 F25:1\n", "the stream does not say how large its frames are"),
        (b"YUV4MPEG2 W0 H5\n", "the stream does not say how large its frames are"),
        (b"YUV4MPEG2 W7 H-5\n", "the stream does not say how large its frames are"),
        (b"YUV4MPEG2 W7 H5 C444alpha\n", "frames of a kind that is not read: C444alpha"),
        (b"YUV4MPEG2 W7 H5 C420p17\n", "frames of a kind that is not read: C420p17"),
    ],
)
def test_what_is_no_stream_is_refused(line, message):
    with pytest.raises(ImageError, match=re.escape(message)) as caught:
        FrameReader(io.BytesIO(line), "the stream")
    assert "ffmpeg" in str(caught.value.hint)


def written(fields: str, frames: int, seed: int = 0) -> bytes:
    told, file, random = header(fields), io.BytesIO(), np.random.default_rng(seed)
    file.write(told.line)
    for number in range(frames):
        planes = [random.integers(0, 2**told.bits, shape, told.dtype) for shape in told.shapes]
        Frame(tuple(planes), b" Xfirst" if number == 0 else b"").written_to(file)
    return file.getvalue()


@pytest.mark.parametrize("chroma", ["C420jpeg", "C422p10", "C444", "Cmono10"])
def test_what_is_written_is_what_was_read(chroma):
    content = written(f"W7 H5 F25:1 {chroma}", 3)
    reader, copy = FrameReader(io.BytesIO(content), "it"), io.BytesIO()
    copy.write(reader.header.line)
    for frame in reader:
        assert [plane.shape for plane in frame.planes] == list(reader.header.shapes)
        frame.written_to(copy)
    assert copy.getvalue() == content


def test_values_of_ten_bits_have_their_low_byte_first():
    content = b"YUV4MPEG2 W2 H1 Cmono10\nFRAME\n\x01\x02\xff\x03"
    (frame,) = FrameReader(io.BytesIO(content), "it")
    assert frame.planes[0].tolist() == [[0x201, 0x3FF]]


@pytest.mark.parametrize("lost", [1, 20, 60, 67, 68, 71])
def test_a_cut_stream_gives_what_was_whole(lost):
    content = written("W7 H5 C420jpeg", 3)  # frames of 65 bytes with their lines
    frames = iter(FrameReader(io.BytesIO(content[:-lost]), "it"))
    whole = 2 if lost < 65 else 1
    for _ in range(whole):
        assert next(frames)
    with pytest.raises(ImageError, match="it ends within frame") as caught:
        next(frames)
    assert f"{whole} frame{'s' * (whole > 1)} before it came whole" in str(caught.value.hint)


def test_a_cut_between_frames_is_an_end():
    content = written("W7 H5 C420jpeg", 3)
    assert len(list(FrameReader(io.BytesIO(content[: len(content) - 65]), "it"))) == 2


@pytest.mark.parametrize("junk", [b"GARBAGE\n", b"FRAMES\n", b"\n", b"\x00" * 9000])
def test_bytes_between_frames_are_told(junk):
    reader = FrameReader(io.BytesIO(written("W7 H5", 2) + junk), "it")
    frames = iter(reader)
    assert next(frames)
    assert next(frames)
    with pytest.raises(ImageError, match="stands where frame 3 should begin"):
        next(frames)


def test_a_stream_without_frames():
    with pytest.raises(ImageError, match="it has no frames"):
        list(FrameReader(io.BytesIO(written("W7 H5", 0)), "it"))
