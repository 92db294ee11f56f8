"""One image from standard input to standard output: as processes, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.cli.main import run


@pytest.fixture
def pipe(capfdbinary, monkeypatch):
    """Runs `mambair` with a file as standard input; gives status, output and messages."""

    def invoke(path: Path, *arguments: object):
        capfdbinary.readouterr()
        with path.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = run([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return invoke


@pytest.fixture
def x2(weights):
    return "--weights", str(weights / "sr-x2.safetensors"), "--scan", "torch"


@pytest.mark.parametrize(
    ("suffix", "options", "expected"),
    [
        (".png", (), "PNG"),
        (".jpg", (), "JPEG"),
        (".webp", (), "WEBP"),
        (".png", ("--format", "jpg"), "JPEG"),
        (".jpg", ("--format", ".TIFF"), "TIFF"),
    ],
)
def test_the_format_is_the_one_asked_for_or_that_of_the_content(
    pipe, x2, make_image, tmp_path, suffix, options, expected
):
    image = make_image(tmp_path / f"image{suffix}")
    image = image.rename(tmp_path / "any name")
    status, out, err = pipe(image, "sr", "-", *options, *x2)
    assert status == 0, err
    with Image.open(io.BytesIO(out)) as result:
        assert (result.format, result.size) == (expected, (44, 26))
    assert "\nstandard input: 44x26 in " in err
    assert tempfile.gettempdir() not in err
    assert list(tmp_path.iterdir()) == [image]


def test_the_result_is_that_of_the_file(pipe, x2, photo):
    assert run(["sr", str(photo), *x2]) == 0
    _, out, _ = pipe(photo, "sr", "-", *x2)
    with Image.open(io.BytesIO(out)) as piped, Image.open(photo.with_name("photo_x2.png")) as file:
        assert (np.asarray(piped) == np.asarray(file)).all()


def test_quiet_says_nothing(pipe, x2, photo):
    status, out, err = pipe(photo, "sr", "-", "-q", *x2)
    assert (status, err) == (0, "")
    assert out.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "error: standard input is empty (0 bytes)\n"),
        (b"hello, I am a text\n" * 9, "error: standard input is not a"),
    ],
)
def test_what_is_no_image_fails_and_nothing_is_written(pipe, x2, tmp_path, content, message):
    path = tmp_path / "input"
    path.write_bytes(content)
    status, out, err = pipe(path, "sr", "-", *x2)
    assert (status, out) == (1, b"")
    assert message in err
    assert "mambair-" not in err


def test_a_format_that_cannot_be_written(pipe, x2, photo):
    status, out, err = pipe(photo, "sr", "-", "--format", "psd", *x2)
    assert (status, out) == (2, b"")
    assert "error: format 'psd' cannot be written\n" in err


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_terminal_is_refused(pipe, x2, photo, monkeypatch, stream):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    if stream == "stdout":
        monkeypatch.setattr(sys, "stdout", Terminal())
        status, _, err = pipe(photo, "sr", "-", *x2)
    else:
        monkeypatch.setattr(Path, "open", lambda _: Terminal())
        status, _, err = pipe(photo, "sr", "-", *x2)
    name = {"stdin": "standard input", "stdout": "standard output"}[stream]
    assert status == 2
    assert err == (
        f"error: {name} is a terminal, and images are no text\n\n"
        "hint: redirect both, for example: mambair sr - < in.png > out.png\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_commands_are_chained(weights, photo):
    def command(*arguments):
        return [sys.executable, "-m", "mambair_cli", *map(str, arguments), "--scan", "torch"]

    denoise = command(
        "denoise", "--sigma", 25, "-", "--weights", weights / "denoise-s25.safetensors"
    )
    enlarge = command("sr", "-", "--format", "webp", "--weights", weights / "sr-x2.safetensors")
    with (
        photo.open("rb") as file,
        subprocess.Popen(denoise, stdin=file, stdout=subprocess.PIPE) as first,
    ):
        second = subprocess.run(enlarge, stdin=first.stdout, capture_output=True, check=False)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    with Image.open(io.BytesIO(second.stdout)) as image:
        assert (image.format, image.size) == ("WEBP", (44, 26))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("source", ["-", "file"])
def test_a_reader_that_went_away_ends_it_quietly(launcher, x2, photo, source, tmp_path):
    pipe = f"""
import os
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.dup2(os.open({str(photo)!r}, os.O_RDONLY), 0)
"""
    name = "-" if source == "-" else photo
    run = launcher.start(tmp_path / "printed", "sr", "-q", *x2, name, before=pipe)
    assert (run.wait(), run.err) == (141, "")


def test_a_file_goes_to_standard_output(pipe, x2, photo, tmp_path):
    status, out, err = pipe(photo, "sr", photo, "-o", "-", *x2)
    assert status == 0
    assert out == pipe(photo, "sr", "-", *x2)[1]
    assert f"{photo}: 44x26 in " in err
    assert [path.name for path in photo.parent.iterdir()] == [photo.name]
    status, out, err = pipe(photo, "sr", photo.parent, "-o", "-", *x2)
    assert (status, out) == (2, b"")
    assert err.startswith(f"error: {photo.parent} is a folder\n")
    status, out, err = pipe(photo, "sr", tmp_path / "nosuch.png", "-o", "-", *x2)
    assert (status, out) == (2, b"")
    assert "no such file" in err
    assert pipe(photo, "sr", photo, photo, "-o", "-", *x2)[0] == 2
    assert pipe(photo, "sr", "-", "-o", "-", *x2)[0] == 0
