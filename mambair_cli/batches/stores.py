"""Files in object stores, by fsspec: read, listed, and written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from mambair_cli.batches.urls import Url
from mambair_cli.errors import BackendError, ImageError, MambairError, OutputError, UsageError

# What the libraries of the stores raise that is no OSError.
STORE_FAILURES = {
    "aiohttp": "ClientError",
    "azure.core.exceptions": "AzureError",
    "botocore.exceptions": "BotoCoreError",
    "gcsfs.retry": "HttpError",
    "google.auth.exceptions": "GoogleAuthError",
}
CREDENTIALS = "check the address, and the credentials that its store takes from the environment"


def size_of(url: Url) -> int | None:
    """Return the bytes of a file; None if it is not there.

    Raises:
        ImageError: The store cannot be asked.
    """
    files, path = _opened(url)
    with _failing(url, ImageError, "looked up"):
        try:
            return int(files.size(path))
        except FileNotFoundError:
            return None


def read(url: Url) -> bytes:
    """Read a file.

    Raises:
        ImageError: It cannot be read.
    """
    files, path = _opened(url)
    with _failing(url, ImageError, "read"):
        return bytes(files.cat_file(path))


def fetch(url: Url, path: Path) -> None:
    """Copy a file to this machine.

    Raises:
        ImageError: It cannot be read.
    """
    files, remote = _opened(url)
    with _failing(url, ImageError, "read"):
        files.get_file(remote, str(path))


def write(url: Url, content: bytes) -> None:
    """Write a small file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with _whole(url) as (files, path):
        files.pipe_file(path, content)


def upload(path: Path, url: Url) -> None:
    """Copy a file of this machine to a store, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with _whole(url) as (files, remote):
        files.put_file(str(path), remote)


def is_directory(url: Url) -> bool:
    """Tell whether there is anything below an address.

    Raises:
        UsageError: The store cannot be asked.
    """
    files, path = _opened(url)
    with _failing(url, UsageError, "looked up"):
        return bool(files.isdir(path))


def is_file(url: Url) -> bool:
    """Tell whether there is a file of that very name.

    Raises:
        UsageError: The store cannot be asked.
    """
    files, path = _opened(url)
    with _failing(url, UsageError, "looked up"):
        return bool(files.isfile(path))


def below(directory: Url, *, recursive: bool = True) -> list[Url]:
    """List the files below an address, in order of their names; none if there is no such one.

    Raises:
        UsageError: They cannot be listed.
    """
    files, path = _opened(directory)
    with _failing(directory, UsageError, "listed"):
        found = files.find(path, maxdepth=None if recursive else 1)
    return sorted(_url(directory, path, name) for name in found)


def matching(root: Url, pattern: str) -> list[tuple[Url, bool]]:
    """List what a pattern below an address matches, in order of the names.

    Returns:
        Files and folders, and whether each is a folder.

    Raises:
        UsageError: They cannot be listed.
        ValueError: It is no pattern.
    """
    files, path = _opened(root)
    with _failing(root / pattern, UsageError, "listed"):
        found = files.glob(f"{escape(path.rstrip('/'))}/{pattern}", detail=True)
    return sorted(
        (_url(root, path, name), info["type"] == "directory") for name, info in found.items()
    )


def _url(root: Url, path: str, name: str) -> Url:
    """Name a file that was found below an address whose path the store knows as another."""
    return root / PurePosixPath("/", name).relative_to(PurePosixPath("/", path))


@contextmanager
def _whole(url: Url) -> Iterator[tuple[Any, str]]:
    files, path = _opened(url)
    with _failing(url, OutputError, "written"):
        if url.is_in_object_store:
            yield files, path
            return
        parent = path.rpartition("/")[0]
        files.makedirs(parent, exist_ok=True)
        unfinished = f"{parent}/.mambair-{uuid4().hex}.tmp"
        try:
            yield files, unfinished
            files.mv(unfinished, path)
        finally:
            if files.exists(unfinished):
                files.rm_file(unfinished)


def _opened(url: Url) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    except ImportError as error:
        raise BackendError(
            f"{url.scheme}:// needs fsspec: {error}", "pip install 'mambair[ray]'"
        ) from error
    try:
        # What other processes write meanwhile has to be seen.
        files, path = url_to_fs(str(url), use_listings_cache=False)
    except ImportError as error:
        raise BackendError(
            f"{url.scheme}:// cannot be used: {error}", "pip install what it names, such as s3fs"
        ) from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}", "there is s3://, gs://, az:// and more") from error
    return files, str(path)


@contextmanager
def _failing(url: Url, failure: type[MambairError], what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise failure(f"{url}: no such file", "check the spelling") from error
    except _store_failures() as error:
        raise failure(f"{url} cannot be {what}: {error}", CREDENTIALS) from error


def _store_failures() -> tuple[type[Exception], ...]:
    found = (
        getattr(sys.modules[module], name)
        for module, name in STORE_FAILURES.items()
        if module in sys.modules
    )
    return (OSError, *found)
