"""The files of a training run, written so that a kill at any moment loses nothing but time.

Layout: `recipe.toml` (with every default spelled out), `log.jsonl` (one row for each iteration and
each validation), `state.pt` (what resuming needs), `last.safetensors`, `best.safetensors`, and
`.lock`, which the process that trains holds.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from mambair_cli.disk import check_writable, flush, remove_unfinished, write_whole
from mambair_cli.errors import CheckpointError, OutputError, UsageError
from mambair_cli.plain_json import to_json
from mambair_cli.training.config import Recipe, load_recipe
from mambair_cli.training.recipe_text import flatten, format_recipe

# What may differ when a run goes on: none of it changes the meaning of the stored state.
CHANGEABLE_KEYS = frozenset(
    {
        "data.cache_mb",
        "optim.iterations",
        "validation.folders",
        "validation.every",
        "run.checkpoint_every",
        "run.checkpoint_seconds",
        "run.log_every",
    }
)


class RunDirectory:
    """Paths and durable writes of one run.

    Args:
        path: The directory; made by `alone`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.log = path / "log.jsonl"
        self.state = path / "state.pt"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"

    def require_usable(self, recipe: Recipe, *, resume: bool) -> None:
        """Refuse a directory that a run cannot use, before the work that comes first.

        Raises:
            UsageError: There is no run to resume, its recipe differs in a key that matters, or
                there is a run where one is to be started.
            OutputError: The directory cannot be written.
        """
        if resume:
            if not self.state.is_file():
                raise UsageError(
                    f"{self.path} holds no training run to resume", "start it without --resume"
                )
            self._check_same_recipe(recipe)
        elif self.state.exists():
            raise UsageError(
                f"{self.path} already holds a training run",
                "go on with it by --resume, or give another directory",
            )
        existing = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        try:
            check_writable(existing / self.recipe.name)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the directory of a new run or find that of an old one; keep other processes out.

        A kill ends the hold. A file system without locks keeps nobody out.

        Raises:
            UsageError: Another process trains in the directory.
            OutputError: It cannot be written.
        """
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout as error:
            raise UsageError(
                f"another process trains in {self.path}",
                "let it finish or stop it, or give another directory",
            ) from error
        except NotImplementedError:
            pass
        except OSError as error:
            raise _unwritable(self.path, error) from error
        remove_unfinished([self.path])
        try:
            yield
        finally:
            lock.release()

    def write_recipe(self, recipe: Recipe) -> None:
        """Store the recipe that the run now follows."""
        _replace(self.recipe, format_recipe(recipe).encode())

    def load_state(self) -> dict[str, Any]:
        """Read the state to go on from.

        Raises:
            CheckpointError: The file is damaged.
        """
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{self.state} is damaged: {error}",
                "copy the folder of the run again, or start another run",
            ) from error
        return state

    def _check_same_recipe(self, recipe: Recipe) -> None:
        before, now = flatten(load_recipe(self.recipe)), flatten(recipe)
        for key in before.keys() | now.keys():
            if key not in CHANGEABLE_KEYS and before.get(key) != now.get(key):
                raise UsageError(
                    f"{key} is {now.get(key)!r} in the recipe but {before.get(key)!r} in the run "
                    f"{self.path}",
                    "restore the value, or start another run; a resumed run may change only "
                    + ", ".join(sorted(CHANGEABLE_KEYS)),
                )

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the stored state; a kill leaves the old one or the new one."""
        content = io.BytesIO()  # not the file itself: torch tells of a full disk in its own words
        torch.save(state, content)
        _replace(self.state, content.getbuffer())

    def append_log(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Add rows to the log, and have them on disk before a later checkpoint.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.writelines(to_json(row) + "\n" for row in rows)
                flush(file)
        except OSError as error:
            raise _unwritable(self.log, error) from error

    def truncate_log(self, iteration: int) -> None:
        """Drop the rows of iterations that a resumed run does again, and a row cut by a kill."""
        if self.log.exists():
            kept = [row for row in read_log(self.log) if row["iteration"] <= iteration]
            text = "".join(to_json(row) + "\n" for row in kept)
            _replace(self.log, text.encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a log; a last line without its end is left out."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _replace(path: Path, content: bytes | memoryview) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}",
        "make room there, or see what you may do there; a run that has begun goes on with --resume",
    )
