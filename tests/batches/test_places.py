"""What is the same file, and what is below what, in folders and in stores."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from odd_disks import ask_a_disk_without_case, cannot

from mambair_cli.batches.places import Locations, are_one, contains, identity
from mambair_cli.batches.urls import parse_place


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("s3://b/a.png", "s3://b/A.png", False),
        ("s3://b/caf\xe9.png", "s3://b/cafe\u0301.png", False),
        ("s3://b/a.png", "s3a://b/a.png", True),
        ("s3://b/a.png", "gs://b/a.png", False),
        ("sftp://host/a.png", "sftp://host/A.png", True),
        ("d/a.png", "d/../d/A.PNG", True),
        ("d/a.png", "file://d/a.png", True),
        ("d/a.png", "s3://d/a.png", False),
    ],
)
def test_names_that_may_be_one_file(one, other, same):
    locations = Locations()
    keys = [locations.key(parse_place(text)) for text in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_one_file_under_two_names(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    assert identity(tmp_path / "a.png") == identity(tmp_path / "b.png")
    assert identity(tmp_path / "none.png") is None
    assert identity(parse_place("gs://b/a.png")) == identity(parse_place("gcs://b/a.png"))
    assert identity(parse_place("gs://b/a.png")) != identity(parse_place("s3://b/a.png"))


@pytest.mark.parametrize(
    ("folder", "place", "below"),
    [
        ("s3://b/d", "s3://b/d/out", True),
        ("s3://b/d", "s3a://b/d/e/out", True),
        ("s3://b/d", "s3://b/d", False),
        ("s3://b/d", "s3://b/door", False),
        ("s3://b", "b/d", False),
        ("d", "d/../d/out", True),
        ("d", "s3://d/out", False),
    ],
)
def test_what_is_below_a_folder(folder, place, below):
    assert contains(parse_place(folder), parse_place(place)) is below


def test_a_folder_under_another_name(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d", target_is_directory=True)
    assert contains(tmp_path / "d", tmp_path / "link" / "out")
    locations = Locations()
    assert locations.of(tmp_path / "link" / "a.png") == Path(tmp_path / "d" / "a.png").resolve()


def test_names_that_differ_in_case_are_one_where_the_file_system_says_so(tmp_path, monkeypatch):
    one, other = tmp_path / "Cats" / "1.png", tmp_path / "cats" / "1.png"
    (tmp_path / "probe").touch()
    assert are_one(one, other) is (tmp_path / "PROBE").exists()
    assert are_one(one, one)
    asked = ask_a_disk_without_case(monkeypatch)
    assert are_one(one, other)
    assert asked == [tmp_path]
    assert [path.name for path in tmp_path.iterdir()] == ["probe"]


def test_a_place_that_cannot_be_asked_tells_no_names_apart(tmp_path, monkeypatch):
    cannot(monkeypatch, "mkdir", answer=errno.EROFS)
    assert are_one(tmp_path / "a.png", tmp_path / "A.png")
