"""Files in stores: whole or not at all, with failures that can be understood."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from mambair_cli.batches import stores
from mambair_cli.batches.urls import Url
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


def test_what_is_written_can_be_read_and_found(shelf, tmp_path):
    for root in (shelf, Url.parse("memory://shelf")):
        stores.write(root / "d" / "a.png", b"one")
        (tmp_path / "local.png").write_bytes(b"two")
        stores.upload(tmp_path / "local.png", root / "d" / "b.png")
        (tmp_path / "local.png").unlink()
        assert stores.below(root / "d") == [root / "d" / "a.png", root / "d" / "b.png"]
        assert stores.matching(root, "*/b*.png") == [(root / "d" / "b.png", False)]
        assert stores.matching(root, "d*") == [(root / "d", True)]
        assert (stores.size_of(root / "d" / "a.png"), stores.size_of(root / "none")) == (3, None)
        assert stores.read(root / "d" / "b.png") == b"two"
        assert (stores.is_directory(root / "d"), stores.is_file(root / "d")) == (True, False)
        stores.fetch(root / "d" / "a.png", tmp_path / "back.png")
        assert (tmp_path / "back.png").read_bytes() == b"one"
        (tmp_path / "back.png").unlink()
    MemoryFileSystem().rm("/shelf", recursive=True)


def test_a_failed_copy_leaves_the_old_file_and_nothing_else(shelf, tmp_path, monkeypatch):
    stores.write(shelf / "a.png", b"old")

    def fail(_, __, target, **___):
        Path(target).write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shelf, "put_file", fail)
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(OutputError, match=r"a.png cannot be written: .*No space left"):
        stores.upload(tmp_path / "new", shelf / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "new"]
    assert stores.read(shelf / "a.png") == b"old"


def test_failures_are_told(monkeypatch):
    with pytest.raises(ImageError) as caught:
        stores.read(Url.parse("memory://none/a.png"))
    assert caught.value.message == "memory://none/a.png: no such file"
    with pytest.raises(UsageError, match=r"nowhere://b/a.png: Protocol not known: nowhere"):
        stores.read(Url.parse("nowhere://b/a.png"))

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(BackendError, match=r"s3:// cannot be used: Install s3fs to access S3"):
        stores.read(Url.parse("s3://b/a.png"))


def test_failures_of_a_store_that_are_no_oserror_are_told(monkeypatch):
    exceptions = pytest.importorskip("botocore.exceptions")

    def refuse(*_, **__):
        raise exceptions.NoCredentialsError

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(ImageError) as caught:
        stores.read(Url.parse("memory://b/a.png"))
    assert caught.value.message == "memory://b/a.png cannot be read: Unable to locate credentials"
    assert "credentials" in caught.value.hint
