"""How lines of a record are kept: appended to a file of a folder, or as segments in a store.

Objects cannot be appended to: a segment `.mambair-manifest-RUN-NUMBER.jsonl` is written whole, and
never again. All files of a folder, or segments below an address, are read together.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import IO
from uuid import uuid4

from mambair_cli import disk
from mambair_cli.batches import stores
from mambair_cli.batches.places import is_folder
from mambair_cli.batches.urls import Place, Url
from mambair_cli.errors import OutputError

PREFIX, SUFFIX = ".mambair-manifest", ".jsonl"


class LinesInFolder:
    """Lines in the files of a folder.

    Args:
        path: The file that is appended to; it and its folder need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending = threading.Lock()

    def read(self) -> Iterator[bytes]:
        """Yield the contents of all files, in the order of their names.

        Raises:
            OutputError: One cannot be read.
        """
        if not is_folder(self._path.parent):
            return
        for path in sorted(self._path.parent.glob(f"{PREFIX}*{SUFFIX}")):
            try:
                if path.is_file():
                    yield path.read_bytes()
            except OSError as problem:
                raise OutputError(
                    f"the record {path} cannot be read: {problem.strerror}",
                    "make it readable, or move it away to begin anew",
                ) from problem

    def append(self, line: bytes, *, flush: bool) -> None:
        """Append a line; on the disk when this returns, if it is to `flush`.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            # The first image may fail before there is any result.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._appending, self._path.open("ab+") as file:
                file.write(_line_break_if_cut(file) + line)
                if flush:
                    disk.flush(file)
        except OSError as problem:
            raise OutputError(
                f"{self._path} cannot be written: {problem.strerror}",
                "choose a directory with -o that can be written to",
            ) from problem

    def keep(self, older_than: float) -> None:
        """Do nothing: no line waits."""


class LinesInStore:
    """Lines in segments below an address.

    Args:
        url: What segments are named after; a run and a number are added to it.
    """

    def __init__(self, url: Url) -> None:
        self._folder = url.parent
        self._name = f"{url.name.removesuffix(SUFFIX)}-{uuid4().hex[:12]}"
        self._segments = 0
        self._lines: list[bytes] = []
        self._oldest = 0.0

    def read(self) -> Iterator[bytes]:
        """Yield the contents of all segments, in the order of their names."""
        for url in stores.below(self._folder, recursive=False):
            if url.name.startswith(PREFIX) and url.name.endswith(SUFFIX):
                yield stores.read(url)

    def append(self, line: bytes, *, flush: bool) -> None:  # noqa: ARG002 - `keep` does that
        """Add a line to the next segment."""
        if not self._lines:
            self._oldest = monotonic()
        self._lines.append(line)

    def keep(self, older_than: float) -> None:
        """Write a segment of the lines that wait, if one waits for that many seconds.

        Raises:
            OutputError: It cannot be written.
        """
        if not self._lines or monotonic() - self._oldest < older_than:
            return
        segment = self._folder / f"{self._name}-{self._segments:06}{SUFFIX}"
        stores.write(segment, b"".join(self._lines))
        self._segments += 1
        self._lines.clear()


def lines_at(place: Place) -> LinesInFolder | LinesInStore:
    """Open the lines of a folder or of an address, by the file that is to be written there."""
    return LinesInStore(place) if isinstance(place, Url) else LinesInFolder(place)


def _line_break_if_cut(file: IO[bytes]) -> bytes:
    if file.tell() == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
