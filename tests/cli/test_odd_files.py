"""Odd names, odd files and folders that other tools stumble over: each is done, or named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of Linux")
not_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is forbidden to root"
)


@pytest.fixture
def enlarge(mambair, weights):
    """Enlarges files twice."""

    def run(*arguments):
        return mambair("sr", *arguments, "--weights", weights / "sr-x2.safetensors")

    return run


def events(outcome):
    return [json.loads(line) for line in outcome.lines]


ODD_NAMES = (
    "failed Error.png",
    "error: out of memory.png",
    "-rf.png",
    "--help.png",
    "two\nlines.png",
    "tab\tand \x1b[31mred.png",
    " leading and trailing .png",
    "Ünïcødé 图像 📷.png",
    "[bold]markup.png",
    "100% {stem} $HOME `id`.png",
    "a.b.c.png",
    "*?.png",
    "'quoted\".png",
)


@linux
def test_a_folder_of_odd_names_is_done_and_each_result_is_named_after_its_source(
    enlarge, make_image, tmp_path
):
    for name in ODD_NAMES:
        make_image(tmp_path / "in" / name)
    outcome = enlarge(tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert outcome.status == 0
    done = {event["target"] for event in events(outcome) if event["event"] == "file_done"}
    expected = {tmp_path / "out" / f"{name.removesuffix('.png')}_x2.png" for name in ODD_NAMES}
    assert {Path(target) for target in done} == expected
    assert {path for path in (tmp_path / "out").iterdir() if path.suffix == ".png"} == expected
    assert "\x1b[31m" not in outcome.err


@linux
@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_in_a_message_is_one_line_and_harmless(enlarge, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    outcome = enlarge(path)
    assert outcome.status == 1
    assert "\x1b[31m" not in outcome.err
    assert "is empty (0 bytes)" in outcome.err


@linux
def test_names_that_are_no_text(enlarge, photo):
    odd = Path(os.fsdecode(os.fsencode(photo.parent) + b"/caf\xe9.png"))
    photo.rename(odd)
    outcome = enlarge(odd, "--json")
    assert outcome.status == 0
    assert odd.with_name(odd.stem + "_x2.png").is_file()
    broken = odd.with_name(odd.stem + " broken.png")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = enlarge(broken)
    assert outcome.status == 1
    assert "is damaged or cut short" in outcome.err


@linux
def test_the_longest_possible_names(enlarge, make_image, tmp_path):
    longest = make_image(tmp_path / ("a" * 251 + ".png"))
    fits = make_image(tmp_path / ("b" * 248 + ".png"))
    outcome = enlarge(longest, fits)
    assert outcome.status == 1
    assert outcome.lines == [str(fits.with_name(fits.stem + "_x2.png"))]
    assert "File name too long" in outcome.err


def test_a_leading_dash_after_two_dashes(mambair, weights, make_image, tmp_path, monkeypatch):
    make_image(tmp_path / "-photo.png")
    monkeypatch.chdir(tmp_path)
    outcome = mambair("sr", "--weights", weights / "sr-x2.safetensors", "--", "-photo.png")
    assert (outcome.status, outcome.lines) == (0, ["-photo_x2.png"])


def test_a_folder_with_everything_in_it(enlarge, make_image, tmp_path):
    folder = tmp_path / "in"
    make_image(folder / "good.png")
    make_image(folder / "deeper" / "still" / "good.jpg")
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    truncated = make_image(folder / "truncated.jpg", 90, 67)
    truncated.write_bytes(truncated.read_bytes()[:-900])
    (folder / "text.png").write_text("a text with the wrong name")
    outcome = enlarge(folder, "-o", tmp_path / "out")
    assert outcome.status == 1
    assert outcome.lines == [
        str(tmp_path / "out" / "good_x2.png"),
        str(tmp_path / "out" / "deeper" / "still" / "good_x2.jpg"),
    ]
    assert "error: 3 of 5 images failed:" in outcome.err
    for name in ("empty.png", "truncated.jpg", "text.png"):
        assert str(folder / name) in outcome.err.split("images failed:")[1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_sockets_devices_and_dangling_links_are_not_waited_for(
    enlarge, make_image, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the name of a socket has at most 107 bytes
    make_image(Path("in/good.png"))
    os.mkfifo("in/pipe.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind("in/socket.png")
    Path("in/dangling.png").symlink_to("nothing")
    Path("in/loop.png").symlink_to("loop.png")
    Path("in/device.png").symlink_to("/dev/zero")
    outcome = enlarge("in")
    server.close()
    assert outcome.lines == ["in/good_x2.png"]
    for name in ("pipe.png", "socket.png", "device.png"):
        outcome = enlarge(f"in/{name}")
        assert outcome.status in (1, 2)
        assert f"in/{name} is not a regular file" in outcome.err
    for name in ("dangling.png", "loop.png"):
        outcome = enlarge(f"in/{name}")
        assert outcome.status in (1, 2)
        assert f"in/{name}" in outcome.err


def test_a_link_to_an_image_is_an_image(enlarge, photo, tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(photo)
    outcome = enlarge(link)
    assert outcome.lines == [str(tmp_path / "link_x2.png")]
    assert not (tmp_path / "link_x2.png").is_symlink()


@not_root
def test_what_may_not_be_read_or_written_is_named(enlarge, make_image, tmp_path):
    secret, open_to_all = make_image(tmp_path / "secret.png"), make_image(tmp_path / "open.png")
    secret.chmod(0)
    outcome = enlarge(secret, open_to_all)
    assert outcome.status == 1
    assert outcome.lines == [str(tmp_path / "open_x2.png")]
    assert f"cannot read {secret}: Permission denied" in outcome.err
    folder = tmp_path / "closed"
    shutil.copy(make_image(folder / "a.png"), tmp_path / "a.png")
    folder.chmod(0o500)
    outcome = enlarge(folder / "a.png")
    folder.chmod(0o700)
    assert outcome.status == 1
    assert "Permission denied" in outcome.err


def test_a_file_that_vanishes_after_planning(enlarge, make_image, tmp_path, monkeypatch):
    from mambair_cli.batches import jobs

    gone, left = make_image(tmp_path / "in" / "a.png"), make_image(tmp_path / "in" / "b.png")
    plan = jobs.plan_jobs

    def plan_and_remove(*arguments, **options):
        jobs = plan(*arguments, **options)
        gone.unlink()
        return jobs

    monkeypatch.setattr(jobs, "plan_jobs", plan_and_remove)
    outcome = enlarge(tmp_path / "in", "-o", tmp_path / "out")
    assert outcome.status == 1
    assert outcome.lines == [str(tmp_path / "out" / "b_x2.png")]
    assert str(gone) in outcome.err.split("images failed:")[1]
    assert left.is_file()


def test_a_source_is_never_changed(enlarge, make_image, tmp_path):
    sources = [make_image(tmp_path / "in" / f"{n}.png", 20 + n, 13) for n in range(3)]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources]
    assert enlarge(tmp_path / "in").status == 0
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources] == before


@pytest.mark.parametrize("below", ["", "deeper"])
@pytest.mark.parametrize("name", ["loop", "n" * 256])
def test_a_folder_that_cannot_be_made_is_no_bug(enlarge, make_image, tmp_path, name, below):
    for number in range(2):
        make_image(tmp_path / "in" / f"{number}.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    outcome = enlarge(tmp_path / "in", "-o", tmp_path / name / below)
    assert outcome.status == 1
    assert (
        outcome.err.count(f"failed: {tmp_path / name}") == 2 or "File name too long" in outcome.err
    )


def test_a_message_in_a_name_is_no_message(enlarge, make_image, tmp_path):
    path = make_image(tmp_path / "failed Error.png")
    outcome = enlarge(path)
    target = tmp_path / "failed Error_x2.png"
    assert (outcome.status, outcome.lines) == (0, [str(target)])
    assert "1 of" not in outcome.err
    with Image.open(target) as image:
        assert np.asarray(image).shape == (26, 44, 3)
