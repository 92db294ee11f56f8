"""Addresses, and how they are told from paths."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mambair_cli.batches.urls import Url, is_url, parse_place, relative


def test_an_address_is_taken_apart_like_a_path():
    url = Url.parse("s3://bucket/folder/photo.tar.png")
    assert str(url) == "s3://bucket/folder/photo.tar.png"
    assert (url.scheme, url.name, url.stem, url.suffix) == (
        "s3",
        "photo.tar.png",
        "photo.tar",
        ".png",
    )
    assert str(url.parent.parent) == "s3://bucket"
    assert str(url.parent / "a b.png") == "s3://bucket/folder/a b.png"
    assert url.relative_to(Url.parse("s3://bucket")).as_posix() == "folder/photo.tar.png"
    assert pickle.loads(pickle.dumps(url)) == url  # noqa: S301
    assert isinstance(url.parent, Url)
    assert str(Url.parse("hdfs:///a/b.png").parent) == "hdfs:///a"
    assert Url.parse("memory:///a/b.png") == Url.parse("memory://a/b.png/")


def test_paths_and_addresses_are_told_apart():
    assert parse_place("file:///d/a.png") == Path("/d/a.png")
    assert parse_place("local:///d/a.png") == Path("/d/a.png")
    assert type(parse_place("d/a.png")) is type(Path("d"))
    assert parse_place("gs://b/a.png") == Url.parse("gs://b/a.png")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a.png", True),
        ("gs://b", True),
        ("memory://a", True),
        ("file:///a.png", True),
        ("a/b.png", False),
        ("/a//b.png", False),
        ("C:/a.png", False),
        ("C:\\a.png", False),
        ("a: //b.png", False),
        ("-", False),
    ],
)
def test_addresses_are_told_from_paths(text, expected):
    assert is_url(text) is expected


def test_the_way_from_a_folder_to_a_file():
    assert relative(Path("d/e/a.png"), Path("d")) == Path("e/a.png")
    assert str(relative(Url.parse("s3://b/e/a.png"), Url.parse("s3://b"))) == "e/a.png"
    for place, folder in (
        ("s3://b/a.png", "gs://b"),
        ("b/a.png", "s3://b"),
        ("s3://b/a", "s3://c"),
    ):
        with pytest.raises(ValueError, match=r"\S"):
            relative(parse_place(place), parse_place(folder))
