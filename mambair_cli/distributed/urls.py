"""Files in object stores: what they are called, and what fsspec does with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Self, cast
from uuid import uuid4

from mambair_cli.errors import BackendError, ImageError, MambairError, OutputError, UsageError

# A file appears there whole or not at all; elsewhere it is renamed when it is whole.
OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "tos", "memory"}
)
# What lives in the memory of one process: workers are sent its bytes, and send theirs back.
WITHIN_ONE_PROCESS = frozenset({"memory"})
LOCAL = ("file://", "local://")
# What the libraries of the stores raise that is no OSError.
STORE_FAILURES = {
    "aiohttp": "ClientError",
    "azure.core.exceptions": "AzureError",
    "botocore.exceptions": "BotoCoreError",
    "gcsfs.retry": "HttpError",
    "google.auth.exceptions": "GoogleAuthError",
}
CREDENTIALS = "check the address, and the credentials that its store takes from the environment"


@dataclass(frozen=True, order=True)
class Url:
    """An address such as `s3://bucket/folder/photo.png`, taken apart like a path.

    Attributes:
        scheme: What stands before the colon.
        path: What stands behind the slashes, without another one at the end.
    """

    scheme: str
    path: PurePosixPath

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address."""
        scheme, _, path = text.partition("://")
        # There are no hosts in memory, and two ways to write that.
        within = path.lstrip("/") if scheme in WITHIN_ONE_PROCESS else path
        return cls(scheme, PurePosixPath(within))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, below: str | PurePath) -> Self:
        return replace(self, path=self.path / below)

    @property
    def name(self) -> str:
        """As of a path."""
        return self.path.name

    @property
    def stem(self) -> str:
        """As of a path."""
        return self.path.stem

    @property
    def suffix(self) -> str:
        """As of a path."""
        return self.path.suffix

    @property
    def parent(self) -> Self:
        """As of a path."""
        return replace(self, path=self.path.parent)

    @property
    def stays_in_its_process(self) -> bool:
        """Whether no other process can read or write it."""
        return self.scheme in WITHIN_ONE_PROCESS

    def relative_to(self, other: Url) -> PurePosixPath:
        """The way from another address to this one."""
        return self.path.relative_to(other.path)

    def is_below(self, other: object) -> bool:
        """Whether this is another address, or in a folder of that name."""
        if not isinstance(other, Url) or other.scheme != self.scheme:
            return False
        return self.path.is_relative_to(other.path)

    def resolve(self) -> Self:
        """Gives itself: there are no links and no current directory."""
        return self


def place(text: str) -> Path:
    """Tells an address from a path; `file://` is a path."""
    for prefix in LOCAL:
        if text.startswith(prefix):
            return Path(text.removeprefix(prefix))
    return as_place(Url.parse(text)) if "://" in text else Path(text)


def as_place(url: Url) -> Path:
    """The same address where a path is expected.

    Jobs, events and records hold paths. Their layers know no addresses, and only ask for names and
    print them; whoever opens files asks for the `address` first.
    """
    return cast(Path, url)


def address(found: Path) -> Url | None:
    """The address that stands in place of a path; None for a path."""
    thing: object = found
    return thing if isinstance(thing, Url) else None


def size_of(url: Url) -> int | None:
    """Bytes of a file; None if it is not there.

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
    """Reads a file.

    Raises:
        ImageError: It cannot be read.
    """
    files, path = _opened(url)
    with _failing(url, ImageError, "read"):
        return bytes(files.cat_file(path))


def fetch(url: Url, path: Path) -> None:
    """Copies a file to this machine.

    Raises:
        ImageError: It cannot be read.
    """
    files, remote = _opened(url)
    with _failing(url, ImageError, "read"):
        files.get_file(remote, str(path))


def write(url: Url, content: bytes) -> None:
    """Writes a small file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with _whole(url) as (files, path):
        files.pipe_file(path, content)


def upload(path: Path, url: Url) -> None:
    """Copies a file of this machine to a store, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with _whole(url) as (files, remote):
        files.put_file(str(path), remote)


def is_directory(url: Url) -> bool:
    """Whether there is anything below an address.

    Raises:
        UsageError: The store cannot be asked.
    """
    files, path = _opened(url)
    with _failing(url, UsageError, "looked up"):
        return bool(files.isdir(path))


def is_file(url: Url) -> bool:
    """Whether there is a file of that very name.

    Raises:
        UsageError: The store cannot be asked.
    """
    files, path = _opened(url)
    with _failing(url, UsageError, "looked up"):
        return bool(files.isfile(path))


def below(directory: Url, *, recursive: bool = True) -> list[Url]:
    """Lists the files below an address, in order of their names; none if there is no such one.

    Raises:
        UsageError: They cannot be listed.
    """
    files, path = _opened(directory)
    with _failing(directory, UsageError, "listed"):
        found = files.find(path, maxdepth=None if recursive else 1)
    return _urls(directory, path, found)


def matching(root: Url, pattern: str) -> list[Url]:
    """Lists the files that a pattern below an address matches, in order of their names.

    Raises:
        UsageError: They cannot be listed.
    """
    files, path = _opened(root)
    with _failing(root / pattern, UsageError, "listed"):
        found = files.glob(f"{path.rstrip('/')}/{pattern}", detail=True)
    return _urls(root, path, [name for name, info in found.items() if info["type"] == "file"])


def _urls(root: Url, path: str, found: list[str]) -> list[Url]:
    return sorted(root / PurePosixPath(name).relative_to(path or ".") for name in found)


@contextmanager
def _whole(url: Url) -> Iterator[tuple[Any, str]]:
    files, path = _opened(url)
    with _failing(url, OutputError, "written"):
        if url.scheme in OBJECT_STORES:
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
