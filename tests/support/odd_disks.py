"""File systems that are not like that of the tests."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mambair_cli.batches import places


def ask_a_disk_without_case(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Have names that differ in case be one; gives the folders in which that was tried out."""
    asked: list[Path] = []

    def is_one_entry(folder: Path, *_: str) -> bool:
        asked.append(folder)
        return True

    monkeypatch.setattr(places, "_is_one_entry", is_one_entry)
    return asked


def cannot(monkeypatch: pytest.MonkeyPatch, *calls: str, answer: int = errno.ENOSYS) -> None:
    """Have functions of `os` answer as a file system does that has nothing of the kind."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(answer, os.strerror(answer))

    for call in calls:
        monkeypatch.setattr(os, call, refuse)
