"""What of folders is taken, followed and left out, and how that is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from mambair_cli.batches.notices import Notice
from mambair_cli.batches.sources.inputs import find_images, resolve_inputs
from mambair_cli.batches.sources.left_out import lines
from mambair_cli.errors import UsageError

OTHERS = ("bpg", "cur", "dds", "exr", "hdr", "ico", "jp2", "pcx", "psd")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def link(name, target):
    Path(name).symlink_to(target, target_is_directory=True)


def found(*names, output=None, recursive=True):
    """Paths that are taken, and the lines that are told."""
    notices: list[Notice] = []
    sources = find_images(
        resolve_inputs(names),
        output=None if output is None else Path(output),
        suffix="_x4",
        recursive=recursive,
        on_notice=notices.append,
    )
    return [source.path.as_posix() for source in sources], lines(notices)


class TestLinkedFolders:
    @pytest.mark.parametrize("name", ["set", "set/**/*.png", "s?t"])
    def test_are_followed_and_told(self, name):
        touch("store/1.png", "store/deep/2.png", "set/own.png")
        link("set/linked", "../store")
        taken, told = found(name)
        assert sorted(taken) == ["set/linked/1.png", "set/linked/deep/2.png", "set/own.png"]
        assert told == ["followed: 1 linked folder (linked)"]

    def test_a_folder_of_nothing_else_has_images(self):
        touch("store/1.png")
        Path("set").mkdir()
        link("set/linked", "../store")
        assert found("set")[0] == ["set/linked/1.png"]

    @pytest.mark.parametrize("name", ["set", "set/**/*.png"])
    @pytest.mark.parametrize("target", [".", "..", "../set", "../.."])
    def test_that_lead_in_a_circle_are_left_out(self, name, target):
        touch("set/own.png", "other/1.png")
        link("set/again", target)
        assert found(name) == (["set/own.png"], ["left out: 1 link that leads back (again)"])

    @pytest.mark.parametrize("name", ["a", "a/**/*.png"])
    def test_that_lead_to_each_other_end(self, name):
        touch("a/1.png", "b/2.png")
        link("a/to_b", "../b")
        link("b/to_a", "../a")
        taken, told = found(name)
        assert taken == ["a/1.png", "a/to_b/2.png"]
        assert told == [
            "followed: 1 linked folder (to_b)",
            "left out: 1 link that leads back (to_a)",
        ]

    def test_that_are_met_twice_are_entered_once(self):
        touch("store/x/1.png", "set/real/2.png")
        for name, target in (("a", "../store/x"), ("b", "../store"), ("c", "real"), ("d", "a")):
            link(f"set/{name}", target)
        taken, told = found("set")
        assert taken == ["set/real/2.png", "set/a/1.png"]
        assert told == [
            "followed: 2 linked folders (a, ...)",
            "left out: 2 links that lead back (c, ...)",
        ]

    def test_into_the_results_are_not_entered(self):
        touch("set/1.png", "out/1_x4.png")
        link("set/results", "../out")
        assert found("set", output="out") == (["set/1.png"], [])

    def test_stay_out_where_no_folder_is_entered(self):
        touch("store/1.png", "set/own.png")
        link("set/linked", "../store")
        assert found("set", recursive=False) == (["set/own.png"], [])


class TestLeftOut:
    def test_is_counted_by_kind(self):
        touch("d/a.png", "d/1.tga", "d/2.TGA", "d/3.tga", "d/scan.jp2", "d/_MG.CR2", "d/clip.mov")
        touch("d/notes.txt", "d/readme", "d/.b.png", "d/.git/c.png", "d/._a.png")
        Image.new("RGB", (7, 5)).save("d/twitter.jpg_large", "JPEG")
        Path("d/gone.png").symlink_to("nowhere.png")
        taken, told = found("d")
        assert taken == ["d/a.png"]
        (line,) = told
        assert line.removeprefix("left out: ").split(", 1 ") == [
            "3 hidden (.git, ...), 3 .tga (1.tga, ...), 2 not images (notes.txt, ...)",
            "camera raw (_MG.CR2)",
            "video (clip.mov)",
            "broken link (gone.png), scan.jp2",
            "image under another suffix (twitter.jpg_large)",
        ]

    def test_of_many_kinds_is_one_line(self):
        touch(
            "d/a.png",
            *(f"d/x.{suffix}" for suffix in OTHERS),
        )
        assert found("d")[1] == [
            "left out: x.bpg, x.cur, x.dds, x.exr, x.hdr, x.ico, x.jp2, x.pcx, 1 of other kinds"
        ]

    def test_what_systems_leave_behind_is_not_told(self):
        touch("d/a.png", "d/.DS_Store", "d/Thumbs.db", "d/@eaDir/x", "d/.mambair-manifest.jsonl")
        assert found("d") == (["d/a.png"], [])

    def test_results_of_earlier_runs(self):
        touch("d/a.png", "d/a_x4.png")
        assert found("d") == (["d/a.png"], ["left out: 1 result of an earlier run (a_x4.png)"])

    def test_what_is_no_file_is_never_opened(self):
        touch("d/a.png")
        os.mkfifo("d/pipe")
        os.mkfifo("d/pipe.png")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("d/socket.jpg")
            assert found("d")[1] == ["left out: 3 not images (pipe, ...)"]

    def test_is_told_where_nothing_is_left(self):
        touch("d/1.cr2", "d/2.cr2")
        with pytest.raises(UsageError, match="d has no images") as caught:
            found("d")
        assert caught.value.hint.startswith("left out: 2 camera raw (1.cr2, ...)\nsupported are ")
