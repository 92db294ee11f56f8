"""The record that makes a batch resumable: which output came from which input, and how.

One JSON object a line, appended and never rewritten, in the folder that the outputs are under.
A line is written before an output appears, and another after it or after a failure, so that at any
moment an output of ours can be told from a file that somebody else put there. What a run is to make
stands in its first line: a disk that is full takes no line about a failure. Processes that share
a batch append each to a file of their own, and read all of them. A line cut short by a kill is
skipped.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mambair_cli.batches.record_lines import PREFIX, SUFFIX, lines_at
from mambair_cli.batches.urls import Place, Url, parse_place, relative
from mambair_cli.disk import sha256_of
from mambair_cli.errors import MambairError, OutputError
from mambair_cli.imaging.files import InputFile
from mambair_cli.plain_json import to_json

VERSION = 1

Recipe = Mapping[str, Any]
# Of an input file: weights may be chosen by what is in it.
RecipeOf = Callable[[InputFile], Recipe]
Shard = tuple[int, int]
Status = Literal["begun", "done", "failed"]
# What it is sorted by among the records of other files, then output, status and entry. A run counts
# one more than all that it has read, so that it comes after them even if its clock is behind.
_Order = tuple[float, float]
_Record = tuple[_Order, str, Status, "Entry"]


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
    source: Place | None = None


class Manifest:
    """Records of the outputs under one folder or address; several threads may use a folder's.

    Args:
        directory: What all outputs are under, `Job.record`; need not exist yet.
        shard: The part of a shared batch, I of N, whose records are appended; those of all parts
            are read.
    """

    def __init__(self, directory: Place, shard: Shard | None = None) -> None:
        self.path = directory / manifest_name(shard)
        self._directory = directory
        self._made: set[str] = set()
        self._planned: list[str] = []
        self._unsettled: set[str] = set()
        # Whether what this run is to make, and all failures since, were recorded.
        self._is_complete = False
        self._lines = lines_at(self.path)
        self._last = self._latest()

    def knows(self, target: Place) -> bool:
        """Tell whether a run of ours wrote this output, or may have: it was killed while it did.

        After a failure nothing of ours is there; what is, somebody else may have put there since.
        """
        key = self._key(target)
        status, _ = self._last.get(key, ("failed", None))
        return key in self._made or status == "begun"

    def has_intact(self, target: Path, wanted: Entry) -> bool:
        """Tell whether an output is there, whole, and made from the same input in the same way."""
        status, entry = self._last.get(self._key(target), ("begun", wanted))
        if status != "done" or not target.is_file():
            return False
        if (entry.input, entry.recipe) != (wanted.input, wanted.recipe):
            return False
        return target.stat().st_size == entry.size and sha256_of(target) == entry.output

    def last_done(self, target: Place) -> Entry | None:
        """Return the last record of an output, if it says that the output was written."""
        status, entry = self._last.get(self._key(target), ("begun", None))
        return entry if status == "done" else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of any earlier run."""
        return not self._last and not self._unsettled

    def has_failed(self, target: Place) -> bool:
        """Tell whether the last run that should have made this output did not."""
        key = self._key(target)
        status, _ = self._last.get(key, (None, None))
        return status == "failed" or (status != "done" and key in self._unsettled)

    def plan(self, targets: Iterable[Place]) -> None:
        """Have all that this run is to make recorded before the first output."""
        self._planned = [self._key(target) for target in targets]

    def end(self) -> None:
        """Record that this run ended in good order, if it was begun and every failure is recorded.

        Raises:
            OutputError: The record cannot be written.
        """
        if self._is_complete:
            self._append_line({"status": "ended"})

    def outputs(self) -> Iterator[tuple[Place, Place]]:
        """Yield each output that a run of ours has tried to write, with its input."""
        for key, (_, entry) in self._last.items():
            if entry.source is not None:
                yield self._directory / key, entry.source

    def begin(self, target: Place, entry: Entry) -> None:
        """Record that an output is about to be written; in a folder it is on the disk then.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, "begun", entry, flush=True)

    def finish(self, target: Path, entry: Entry) -> None:
        """Record an output that was written, with the digest of the file.

        Raises:
            OutputError: The record cannot be written.
        """
        size, digest = target.stat().st_size, sha256_of(target)
        self.finish_as(target, replace(entry, output=digest, size=size))

    def finish_as(self, target: Place, entry: Entry) -> None:
        """Record an output whose digest and size the entry has; for those written elsewhere.

        Raises:
            OutputError: The record cannot be written.
        """
        self._append(target, "done", entry)

    def fail(self, target: Place, entry: Entry, error: MambairError) -> None:
        """Record that an output could not be made, and why.

        Raises:
            OutputError: The record cannot be written.
        """
        try:
            self._append(target, "failed", entry, error=error)
        except OutputError:
            self._is_complete = False
            raise

    def keep(self, *, older_than: float = 0.0) -> None:
        """Write the records that wait; in a store, only if one waits for that many seconds.

        Raises:
            OutputError: They cannot be written.
        """
        self._lines.keep(older_than)

    def _key(self, target: Place) -> str:
        return relative(target, self._directory).as_posix()

    def _append(
        self,
        target: Place,
        status: Status,
        entry: Entry,
        error: MambairError | None = None,
        *,
        flush: bool = False,
    ) -> None:
        key = self._key(target)
        record: dict[str, Any] = {
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
        if self._planned:
            self._append_line({"status": "planned", "targets": self._planned})
            self._planned, self._is_complete = [], True
        self._append_line(record, flush=flush)
        self._last[key] = status, entry
        if status == "done":
            self._made.add(key)

    def _append_line(self, record: Mapping[str, Any], *, flush: bool = False) -> None:
        line = to_json({"version": VERSION, "run": self._run, **record})
        self._lines.append(line.encode() + b"\n", flush=flush)

    def _source_to_text(self, source: Place) -> str:
        if isinstance(source, Url) or isinstance(self._directory, Url):
            return str(source.absolute())
        try:
            path = os.path.relpath(os.path.realpath(source), os.path.realpath(self._directory))
        except ValueError:  # on another drive
            path = os.path.realpath(source)
        return Path(path).as_posix()

    def _source_from_text(self, text: str) -> Place:
        source = parse_place(text)
        if isinstance(source, Url) or isinstance(self._directory, Url):
            return source
        return self._directory / source

    def _latest(self) -> dict[str, tuple[Status, Entry]]:
        """Read the last record of each output."""
        records: list[_Record] = []
        for content in self._lines.read():
            lines = list(_parsed(content))
            self._unsettled |= _unsettled(lines)
            records += _in_place(self._records(lines))
        records.sort(key=lambda record: record[0])
        self._run = 1 + max((run for (run, _), *_ in records), default=0)
        self._made.update(key for _, key, status, _ in records if status == "done")
        return {key: (status, entry) for _, key, status, entry in records}

    def _records(self, lines: Iterable[Mapping[str, Any]]) -> Iterator[_Record]:
        for record in lines:
            try:
                if record["status"] not in get_args(Status):
                    continue
                source = record["source"]
                entry = Entry(
                    str(record["input_sha256"]),
                    record["recipe"],
                    record["output_sha256"],
                    record["output_bytes"],
                    None if source is None else self._source_from_text(source),
                )
                order = int(record.get("run", 0)), float(record["time"])
                yield order, str(record["target"]), record["status"], entry
            except (ValueError, KeyError, TypeError):
                continue


def _parsed(content: bytes) -> Iterator[Mapping[str, Any]]:
    """Read the lines of one file, leaving out those that are damaged or of another version."""
    for line in content.splitlines():
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("version") == VERSION:
                yield record


def _unsettled(lines: Iterable[Mapping[str, Any]]) -> set[str]:
    """Find what runs were to make that did not end in good order, whether it was made or not."""
    planned: dict[object, list[str]] = {}
    for record in lines:
        if record.get("status") == "planned":
            planned.setdefault(record.get("run"), []).extend(record.get("targets", ()))
        elif record.get("status") == "ended":
            planned.pop(record.get("run"), None)
    return {target for targets in planned.values() for target in targets}


def _in_place(records: Iterable[_Record]) -> list[_Record]:
    """Let no record of a file come after one that stands further down, whatever clocks said."""
    ordered: list[_Record] = []
    latest: _Order = math.inf, math.inf
    for order, key, status, entry in reversed(list(records)):
        latest = min(latest, order)
        ordered.append((latest, key, status, entry))
    return ordered[::-1]


def manifest_name(shard: Shard | None = None) -> str:
    """Name the file that a process appends to, for a whole batch or for part I of N."""
    part = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
    return f"{PREFIX}{part}{SUFFIX}"
