"""`--stream y4m`: frames from one pipe to another, streams that are cut, and what is refused."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mambair_cli.cli.main import run
from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader
from mambair_cli.restoration.device import compute


@pytest.fixture
def video(tmp_path):
    """Writes a stream of noise, of 22x13 pixels unless told otherwise."""

    def make(fields="C420jpeg", frames=2, size="W22 H13"):
        header = StreamHeader.parse(f"YUV4MPEG2 {size} F24:1 {fields}\n".encode(), "it")
        random, path = np.random.default_rng(frames), tmp_path / "video.y4m"
        with path.open("wb") as file:
            file.write(header.line)
            for _ in range(frames):
                planes = [
                    random.integers(0, 2**header.bits, shape, header.dtype)
                    for shape in header.shapes
                ]
                Frame(tuple(planes)).written_to(file)
        return path

    return make


@pytest.fixture
def stream(capfdbinary, monkeypatch):
    """Runs `mambair ... --stream y4m -` with a file as standard input."""

    def invoke(path, command, *arguments, words=("--stream", "y4m", "-")):
        capfdbinary.readouterr()
        with path.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = run([command, *words, *map(str, arguments), "--scan", "torch"])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return invoke


@pytest.fixture
def x2(weights):
    return "--weights", weights / "sr-x2.safetensors"


def test_frames_are_enlarged(stream, x2, video):
    status, out, err = stream(video("C420mpeg2 A4:3 XCOLORRANGE=FULL", 3), "sr", "-o", "-", *x2)
    assert status == 0, err
    reader = FrameReader(io.BytesIO(out), "it")
    assert reader.header.line == (b"YUV4MPEG2 W44 H26 F24:1 C420mpeg2 A4:3 XCOLORRANGE=FULL\n")
    assert len(list(reader)) == 3
    assert "\nframes: 22x13 to 44x26, 8 bits, full range\n" in err
    assert "\n3 frames in " in err


def test_a_gray_frame_becomes_what_a_gray_image_becomes(stream, x2, video):
    path = video("Cmono XCOLORRANGE=FULL", 1)
    (frame,) = FrameReader(path.open("rb"), "it")
    image = path.with_suffix(".png")
    Image.fromarray(frame.planes[0]).save(image)
    status, out, err = stream(path, "sr", "-q", *x2)
    assert (status, err) == (0, "")
    assert run(["sr", str(image), *map(str, x2), "--scan", "torch"]) == 0
    (result,) = FrameReader(io.BytesIO(out), "it")
    with Image.open(image.with_name("video_x2.png")) as expected:
        np.testing.assert_array_equal(result.planes[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("command", "weights_of", "options"),
    [
        ("realsr", "sr-x4", ()),
        ("denoise", "denoise-s25", ("--sigma", 25)),
        ("denoise", "denoise-s25", ("--sigma", 1)),
        ("dejpeg", "dejpeg-q30", ("--quality", 30)),
        ("dejpeg", "dejpeg-color", ()),
    ],
)
def test_every_command_takes_streams(stream, weights, video, command, weights_of, options):
    path = video("C422p10")
    chosen = ("--weights", weights / f"{weights_of}.safetensors")
    status, out, err = stream(path, command, *options, *chosen)
    assert status == 0, err
    reader = FrameReader(io.BytesIO(out), "it")
    assert reader.header.bits == 10
    assert len(list(reader)) == 2
    # So weak noise is none that has to be removed.
    assert (out == path.read_bytes()) == (options == ("--sigma", 1))


def test_frames_that_are_large_enough_pass_through(stream, x2, video):
    path = video()
    status, out, err = stream(path, "sr", *x2, "--only-below", "0.0002")
    assert status == 0
    assert out == path.read_bytes()
    assert "left alone: 22x13 pixels" in err


def test_any_size(stream, x2, video):
    _, out, _ = stream(video(), "sr", *x2, "--long-side", 33)
    assert out.startswith(b"YUV4MPEG2 W33 H20 ")


def test_a_matrix_that_players_would_not_expect_is_told(stream, weights, video):
    chosen = ("--weights", weights / "sr-x4.safetensors")
    _, _, err = stream(video("C444", 1, "W322 H2"), "sr", *chosen)
    assert "the colours stay those of BT.601" in err
    assert "-colorspace smpte170m" in err
    _, _, err = stream(video("Cmono", 1, "W322 H2"), "sr", *chosen)
    assert "BT.601" not in err


def test_a_cut_stream_ends_with_what_was_whole(stream, x2, video):
    path = video(frames=3)
    path.write_bytes(path.read_bytes()[:-5])
    status, out, err = stream(path, "sr", *x2)
    assert status == 1
    assert len(list(FrameReader(io.BytesIO(out), "it"))) == 2
    assert err.endswith(
        "error: standard input ends within frame 3\n\n"
        "hint: 2 frames before it came whole; see what the program before it says\n"
    )
    assert "\n2 frames in " in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "error: standard input is empty (0 bytes)\n"),
        (b"\x89PNG\r\n\x1a\n", "error: standard input is no Y4M stream: it begins with b'\\x89PNG"),
        (b"YUV4MPEG2 W4 H2 It\n", "error: standard input is interlaced (top field first)"),
        (b"YUV4MPEG2 W99999 H99999\n", "has 9999800001 pixels, more than the limit"),
        (b"YUV4MPEG2 W4 H2\n", "error: standard input has no frames\n"),
    ],
)
def test_what_is_no_stream_fails_and_nothing_is_written(stream, x2, tmp_path, content, message):
    path = tmp_path / "input"
    path.write_bytes(content)
    status, out, err = stream(path, "sr", *x2)
    assert (status, out) == (1, b"")
    assert message in err
    # Nobody waits for kernels to hear that.
    assert ("device:" in err) == (b"H2\n" in content)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stream", "y4m", "a.y4m"), "--stream does nothing without -"),
        (("--stream", "y4m", "-", "--format", "png"), "--stream and --format exclude each other"),
        (("--stream", "y4m", "-", "--quality-out", "9"), "--stream and --quality-out exclude"),
        (("--stream", "y4m", "-", "--json"), "- and --json exclude each other"),
        (("--stream", "avi", "-"), "'avi' is not"),
        (("--stream", "y4m", "nosuch.y4m", "-o", "-"), "nosuch.y4m cannot be read"),
    ],
)
def test_wrong_requests(stream, x2, video, words, message):
    status, out, err = stream(video(), "sr", *x2, words=words)
    assert (status, out) == (2, b"")
    assert message in err


def test_dejpeg_has_to_be_told_the_quality(stream, video):
    status, out, err = stream(video(), "dejpeg")
    assert (status, out) == (2, b"")
    assert "hint: give it: --quality 10, 30 or 40\n" in err


def test_frames_are_treated_alike(stream, video):
    status, out, err = stream(video(), "fix")
    assert (status, out) == (2, b"")
    assert "error: fix decides for each image by itself" in err


def test_one_device_works(stream, x2, video, monkeypatch):
    path = video()
    _, alone, told = stream(path, "sr", *x2)
    assert "only" not in told
    both = [torch.device("cpu:0"), torch.device("cpu:1")]
    monkeypatch.setattr(compute, "resolve_devices", lambda _: both)
    status, out, err = stream(path, "sr", *x2)
    assert (status, out) == (0, alone)
    assert "\nframes come one after the other: only cpu:0 works\n" in err


def test_a_file_is_read_as_standard_input_is(stream, x2, video):
    path = video()
    words = ("--stream", "y4m", str(path), "-o", "-")
    assert stream(path, "sr", "-q", *x2, words=words) == stream(path, "sr", "-q", *x2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_reader_that_went_away_ends_it_quietly(launcher, x2, video, tmp_path):
    pipe = f"""
import os
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.dup2(os.open({str(video())!r}, os.O_RDONLY), 0)
"""
    words = ("-q", *x2, "--stream", "y4m", "-")
    run = launcher.start(tmp_path / "printed", "sr", *words, before=pipe)
    assert (run.wait(), run.err) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX pipe")
def test_each_frame_appears_before_the_next_one_comes(launcher, x2, video, tmp_path):
    """What a player shows while the film is still being made, in the memory of one frame."""
    content = video(frames=3).read_bytes()
    header, frame = content[: content.index(b"\n") + 1], (len(content) - 29) // 3
    pipe = f"""
import os, threading
content, first, size = {content!r}, {len(header)}, {frame}
there, back = os.pipe(), os.pipe()
os.dup2(there[0], 0)
os.dup2(back[1], 1)
os.close(back[1])
def lockstep():
    out = os.fdopen(back[0], "rb")
    os.write(there[1], content[:first])
    for number in range(3):
        os.write(there[1], content[first + number * size :][:size])
        if number == 0:
            out.readline()
        taken = out.read(6 + 44 * 26 + 2 * 22 * 13)
        print("came", number, len(taken), file=__import__("sys").stderr, flush=True)
    os.close(there[1])
threading.Thread(target=lockstep, daemon=True).start()
os.close(there[0])
"""
    words = ("-q", *x2, "--stream", "y4m", "-")
    run = launcher.start(tmp_path / "printed", "sr", *words, before=pipe)
    assert run.wait() == 0, run.err
    assert run.err.splitlines() == [f"came {number} 1722 ".strip() for number in range(3)]
