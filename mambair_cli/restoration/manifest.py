"""The record that makes a batch resumable: which output came from which input, and how.

One JSON object a line, appended and never rewritten, in each output directory. A line is written
before an output appears (without its digest) and again after it, so that at any moment an output
of ours can be told from a file that somebody else put there. A line cut short by a kill is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mambair_cli.errors import OutputError

MANIFEST_NAME = ".mambair-manifest.jsonl"

Recipe = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """What is recorded of one output.

    Attributes:
        input: sha256 of the input file.
        recipe: What else the output depends on: weights, options, version; JSON values only.
        output: sha256 of the output file; None while it is being written.
        size: Bytes of the output file, or None.
    """

    input: str
    recipe: Recipe
    output: str | None = None
    size: int | None = None


class Manifest:
    """Records of the outputs in one directory; may be used from several threads at once.

    Args:
        directory: The output directory; need not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / MANIFEST_NAME
        self._entries = _read(self.path)
        self._appending = threading.Lock()

    def knows(self, target: Path) -> bool:
        """Whether a run of ours wrote, or was about to write, this output."""
        return target.name in self._entries

    def has_intact(self, target: Path, wanted: Entry) -> bool:
        """Whether an output is there, whole, and made from the same input in the same way."""
        entry = self._entries.get(target.name)
        if entry is None or entry.output is None or not target.is_file():
            return False
        if (entry.input, entry.recipe) != (wanted.input, wanted.recipe):
            return False
        return target.stat().st_size == entry.size and file_sha256(target) == entry.output

    def begin(self, target: Path, entry: Entry) -> None:
        """Records that an output is about to be written.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, entry)

    def finish(self, target: Path, entry: Entry) -> None:
        """Records an output that was written, with the digest of the file.

        Raises:
            OutputError: The record cannot be written.
        """
        size, digest = target.stat().st_size, file_sha256(target)
        self._append(target, Entry(entry.input, entry.recipe, digest, size))

    def _append(self, target: Path, entry: Entry) -> None:
        record = {
            "target": target.name,
            "input_sha256": entry.input,
            "recipe": entry.recipe,
            "output_sha256": entry.output,
            "output_bytes": entry.size,
        }
        try:
            with self._appending, self.path.open("ab+") as file:
                file.write(_line_break_if_cut(file.tell(), self.path))
                file.write(json.dumps(record, sort_keys=True).encode() + b"\n")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}",
                "choose a directory with -o that can be written to",
            ) from error
        self._entries[target.name] = entry


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    if not path.is_file():
        return entries
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            entries[record["target"]] = Entry(
                record["input_sha256"],
                record["recipe"],
                record["output_sha256"],
                record["output_bytes"],
            )
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return entries


def _line_break_if_cut(size: int, path: Path) -> bytes:
    if size == 0:
        return b""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"
