"""The record that makes a batch resumable: which output came from which input, and how.

One JSON object a line, appended and never rewritten, in the directory that the outputs are under.
A line is written before an output appears, and another after it or after a failure, so that at any
moment an output of ours can be told from a file that somebody else put there. Processes that share
a batch append each to a file of their own, and read all of them. A line cut short by a kill is
skipped.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mambair_cli.disk import sha256_of
from mambair_cli.errors import MambairError, OutputError

MANIFEST_NAME = ".mambair-manifest.jsonl"
MANIFESTS = ".mambair-manifest*.jsonl"
VERSION = 1

Recipe = Mapping[str, Any]
# Of an input file: weights may be chosen by what is in it.
RecipeOf = Callable[[Path], Recipe]
Shard = tuple[int, int]
Status = Literal["begun", "done", "failed"]


@dataclass(frozen=True)
class Entry:
    """What is recorded of one output.

    Attributes:
        input: sha256 of the input file; empty where it could not be read.
        recipe: What else the output depends on: weights, options, version; JSON values only.
        output: sha256 of the output file; None while there is none.
        size: Bytes of the output file, or None.
        source: The input file.
    """

    input: str
    recipe: Recipe
    output: str | None = None
    size: int | None = None
    source: Path | None = None


class Manifest:
    """Records of the outputs under one directory; may be used from several threads at once.

    Args:
        directory: What all outputs are under, `Job.record`; need not exist yet.
        shard: The part of a shared batch, I of N, whose records are appended; those of all parts
            are read.
    """

    def __init__(self, directory: Path, shard: Shard | None = None) -> None:
        self.path = directory / manifest_name(shard)
        self._directory = directory
        self._made: set[str] = set()
        self._last = self._latest()
        self._appending = threading.Lock()

    def knows(self, target: Path) -> bool:
        """Whether a run of ours wrote this output, or may have: it was killed while it did.

        After a failure nothing of ours is there; what is, somebody else may have put there since.
        """
        key = self._key(target)
        status, _ = self._last.get(key, ("failed", None))
        return key in self._made or status == "begun"

    def has_intact(self, target: Path, wanted: Entry) -> bool:
        """Whether an output is there, whole, and made from the same input in the same way."""
        status, entry = self._last.get(self._key(target), ("begun", wanted))
        if status != "done" or not target.is_file():
            return False
        if (entry.input, entry.recipe) != (wanted.input, wanted.recipe):
            return False
        return target.stat().st_size == entry.size and sha256_of(target) == entry.output

    def last_done(self, target: Path) -> Entry | None:
        """What the last record of an output says, if it says that the output was written."""
        status, entry = self._last.get(self._key(target), ("begun", None))
        return entry if status == "done" else None

    def has_failed(self, target: Path) -> bool:
        """Whether the last attempt to write this output failed."""
        status, _ = self._last.get(self._key(target), ("begun", None))
        return status == "failed"

    def outputs(self) -> Iterator[tuple[Path, Path]]:
        """Yields each output that a run of ours has tried to write, with its input."""
        for key, (_, entry) in self._last.items():
            if entry.source is not None:
                yield self._directory / key, entry.source

    def begin(self, target: Path, entry: Entry) -> None:
        """Records that an output is about to be written; on the disk when this returns.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, "begun", entry, flush=True)

    def finish(self, target: Path, entry: Entry) -> None:
        """Records an output that was written, with the digest of the file.

        Raises:
            OutputError: The record cannot be written.
        """
        size, digest = target.stat().st_size, sha256_of(target)
        self.finish_as(target, replace(entry, output=digest, size=size))

    def finish_as(self, target: Path, entry: Entry) -> None:
        """Records an output whose digest and size the entry has; for those written elsewhere.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, "done", entry)

    def fail(self, target: Path, entry: Entry, error: MambairError) -> None:
        """Records that an output could not be made, and why.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, "failed", entry, error=error)

    def _key(self, target: Path) -> str:
        return target.relative_to(self._directory).as_posix()

    def _append(
        self,
        target: Path,
        status: Status,
        entry: Entry,
        error: MambairError | None = None,
        *,
        flush: bool = False,
    ) -> None:
        key = self._key(target)
        record = {
            "version": VERSION,
            "status": status,
            "time": time.time(),
            "target": key,
            "source": entry.source and self._source_to_text(entry.source),
            "input_sha256": entry.input,
            "recipe": entry.recipe,
            "output_sha256": entry.output,
            "output_bytes": entry.size,
        }
        if error is not None:
            record |= {"error": error.message, "hint": error.hint}
        self._write(json.dumps(record).encode() + b"\n", flush=flush)
        self._last[key] = status, entry
        if status == "done":
            self._made.add(key)

    def _write(self, line: bytes, *, flush: bool) -> None:
        try:
            # The first image may fail before there is any result.
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._appending, self.path.open("ab+") as file:
                file.write(_line_break_if_cut(file) + line)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as problem:
            raise OutputError(
                f"{self.path} cannot be written: {problem.strerror}",
                "choose a directory with -o that can be written to",
            ) from problem

    def _contents(self) -> Iterator[bytes]:
        """Yields what all manifests of the directory hold, in the order of their names."""
        for path in sorted(self._directory.glob(MANIFESTS)):
            if path.is_file():
                yield path.read_bytes()

    def _source_to_text(self, source: Path) -> str:
        try:
            relative = os.path.relpath(source.resolve(), self._directory.resolve())
        except ValueError:  # on another drive
            relative = str(source.resolve())
        return Path(relative).as_posix()

    def _source_from_text(self, text: str) -> Path:
        return self._directory / text

    def _latest(self) -> dict[str, tuple[Status, Entry]]:
        """Reads the last record of each output."""
        records = [record for content in self._contents() for record in self._records(content)]
        # By time, and where clocks agree by file and line: sorting keeps that order.
        records.sort(key=lambda record: record[0])
        self._made.update(key for _, key, status, _ in records if status == "done")
        return {key: (status, entry) for _, key, status, entry in records}

    def _records(self, content: bytes) -> Iterator[tuple[float, str, Status, Entry]]:
        for line in content.splitlines():
            try:
                record = json.loads(line)
                if record["version"] != VERSION or record["status"] not in get_args(Status):
                    continue
                source = record["source"]
                entry = Entry(
                    str(record["input_sha256"]),
                    record["recipe"],
                    record["output_sha256"],
                    record["output_bytes"],
                    None if source is None else self._source_from_text(source),
                )
                yield float(record["time"]), str(record["target"]), record["status"], entry
            except (ValueError, KeyError, TypeError, RecursionError):
                continue


def manifest_name(shard: Shard | None = None) -> str:
    """Names the file that a process appends to, for a whole batch or for part I of N."""
    if shard is None:
        return MANIFEST_NAME
    index, count = shard
    return f".mambair-manifest-{index}-of-{count}.jsonl"


def _line_break_if_cut(file: Any) -> bytes:
    if file.tell() == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
