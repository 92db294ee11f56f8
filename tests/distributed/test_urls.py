"""Addresses, and files in stores: whole or not at all, with failures that can be understood."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from mambair_cli.distributed import urls
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import BackendError, ImageError, OutputError, UsageError


class Shelf(LocalFileSystem):
    """Files of this machine under a scheme of their own: a store that can rename."""

    protocol = "shelf"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("shelf://"))


@pytest.fixture
def shelf(tmp_path):
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    return Url.parse(f"shelf://{tmp_path}")


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
    assert urls.place("file:///d/a.png") == Path("/d/a.png")
    assert urls.place("local:///d/a.png") == Path("/d/a.png")
    assert type(urls.place("d/a.png")) is type(Path("d"))
    assert urls.place("gs://b/a.png") == Url.parse("gs://b/a.png")


def test_what_is_written_can_be_read_and_found(shelf, tmp_path):
    for root in (shelf, Url.parse("memory://shelf")):
        urls.write(root / "d" / "a.png", b"one")
        (tmp_path / "local.png").write_bytes(b"two")
        urls.upload(tmp_path / "local.png", root / "d" / "b.png")
        (tmp_path / "local.png").unlink()
        assert urls.below(root / "d") == [root / "d" / "a.png", root / "d" / "b.png"]
        assert urls.matching(root, "*/b*.png") == [root / "d" / "b.png"]
        assert (urls.size_of(root / "d" / "a.png"), urls.size_of(root / "none")) == (3, None)
        assert urls.read(root / "d" / "b.png") == b"two"
        assert (urls.is_directory(root / "d"), urls.is_file(root / "d")) == (True, False)
        urls.fetch(root / "d" / "a.png", tmp_path / "back.png")
        assert (tmp_path / "back.png").read_bytes() == b"one"
        (tmp_path / "back.png").unlink()
    MemoryFileSystem().rm("/shelf", recursive=True)


def test_a_failed_copy_leaves_the_old_file_and_nothing_else(shelf, tmp_path, monkeypatch):
    urls.write(shelf / "a.png", b"old")

    def fail(_, __, target, **___):
        Path(target).write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shelf, "put_file", fail)
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(OutputError, match=r"a.png cannot be written: .*No space left"):
        urls.upload(tmp_path / "new", shelf / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "new"]
    assert urls.read(shelf / "a.png") == b"old"


def test_failures_are_told(monkeypatch):
    with pytest.raises(ImageError) as caught:
        urls.read(Url.parse("memory://none/a.png"))
    assert caught.value.message == "memory://none/a.png: no such file"
    with pytest.raises(UsageError, match=r"nowhere://b/a.png: Protocol not known: nowhere"):
        urls.read(Url.parse("nowhere://b/a.png"))

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(BackendError, match=r"s3:// cannot be used: Install s3fs to access S3"):
        urls.read(Url.parse("s3://b/a.png"))


def test_failures_of_a_store_that_are_no_oserror_are_told(monkeypatch):
    exceptions = pytest.importorskip("botocore.exceptions")

    def refuse(*_, **__):
        raise exceptions.NoCredentialsError

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(ImageError) as caught:
        urls.read(Url.parse("memory://b/a.png"))
    assert caught.value.message == "memory://b/a.png cannot be read: Unable to locate credentials"
    assert "credentials" in caught.value.hint
