"""What files are called: paths of this machine, and addresses in object stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Self

# A file appears there whole or not at all, and names that differ in anything are different files.
OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "tos", "memory"}
)
# What lives in the memory of one process: workers are sent its bytes, and send theirs back.
WITHIN_ONE_PROCESS = frozenset({"memory"})
# Other names of a scheme, by which the same files are found.
_ALIASES = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
_LOCAL = ("file://", "local://")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, order=True)
class Url:
    """An address such as `s3://bucket/folder/photo.png`, taken apart like a path.

    Nothing here asks a store: `stores` does.

    Attributes:
        scheme: What stands before the colon.
        path: What stands behind the slashes, without another one at the end.
    """

    scheme: str
    path: PurePosixPath

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address."""
        scheme, _, path = text.partition("://")
        # There are no hosts in memory, and two ways to write that.
        within = path.lstrip("/") if scheme in WITHIN_ONE_PROCESS else path
        return cls(scheme, PurePosixPath(within))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path if self.path.parts else ''}"

    def __truediv__(self, below: str | PurePath) -> Self:
        return type(self)(self.scheme, self.path / below)

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
        return type(self)(self.scheme, self.path.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        """As of a path, without the scheme."""
        return self.path.parts

    @property
    def parents(self) -> list[Self]:
        """As of a path."""
        return [type(self)(self.scheme, path) for path in self.path.parents]

    @property
    def is_in_object_store(self) -> bool:
        """Whether its store has whole objects under exact names, and no folders."""
        return self.scheme in OBJECT_STORES

    @property
    def stays_in_its_process(self) -> bool:
        """Whether no other process can read or write it."""
        return self.scheme in WITHIN_ONE_PROCESS

    def as_posix(self) -> str:
        """As of a path."""
        return str(self)

    def absolute(self) -> Self:
        """Return itself: there is no current directory."""
        return self

    def resolve(self) -> Self:
        """Return the one spelling of all that mean the same file; there are no links."""
        return type(self)(_ALIASES.get(self.scheme, self.scheme), self.path)

    def relative_to(self, other: Url) -> PurePosixPath:
        """As of a path."""
        return self.path.relative_to(other.path)


Place = Path | Url


def is_url(text: str) -> bool:
    """Tell whether a text is an address such as `s3://bucket/a.png`."""
    return _URL.match(text) is not None


def path_text(text: str) -> str | None:
    """Return the path that a text is, with or without `file://`; None for an address elsewhere."""
    for prefix in _LOCAL:
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return None if is_url(text) else text


def parse_place(text: str) -> Place:
    """Read a path or an address."""
    path = path_text(text)
    return Url.parse(text) if path is None else Path(path)


def relative(place: Place, folder: Place) -> PurePath:
    """Return the way from a folder to what is below it.

    Raises:
        ValueError: It is not below it.
    """
    if isinstance(place, Url) and isinstance(folder, Url) and place.scheme == folder.scheme:
        return place.relative_to(folder)
    if isinstance(place, Path) and isinstance(folder, Path):
        return place.relative_to(folder)
    raise ValueError(f"{place} is not below {folder}")
