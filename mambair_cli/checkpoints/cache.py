"""What was fetched from the Hub and is kept on this machine, each with a record that pins it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from mambair_cli.checkpoints.reference import HUB
from mambair_cli.disk import sha256_of, temporary_folder, user_folder, write_whole
from mambair_cli.errors import CheckpointError, OutputError, UsageError
from mambair_cli.plain_json import to_json

HOME = "MAMBAIR_HOME"


@dataclass(frozen=True)
class Pin:
    """The record of one fetched file: which one it is, where it came from, where it lies.

    Attributes:
        name: What it is asked for by: a model id, or an `hf://` reference.
        repo: Model repository that it came from.
        revision: Commit of the repository.
        file: Path in the repository.
        source_sha256: Digest of the file in the repository.
        source_size: Bytes of the file in the repository.
        weights: The file to load: beside the record if it was converted, else the Hub's own copy.
        sha256: Digest of the file to load.
        size: Bytes of the file to load.
    """

    name: str
    repo: str
    revision: str
    file: str
    source_sha256: str
    source_size: int
    weights: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """The file to load."""
        return record_of(self.name).parent / self.weights

    @property
    def is_there(self) -> bool:
        """Whether the file is there, with the size that it had."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


def home() -> Path:
    """Find the folder of everything that is fetched.

    Returns:
        What `MAMBAIR_HOME` names, or the folder that the system has for a user's caches; where the
        user has no home, one under the temporary directory.

    Raises:
        UsageError: `MAMBAIR_HOME` begins with a user that there is not.
        OutputError: There is no such folder.
    """
    chosen = os.environ.get(HOME)
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            raise UsageError(
                f"{HOME}={chosen} names the home of a user that there is not",
                f"set {HOME} to a folder",
            ) from error
    folder = user_folder() or temporary_folder()
    if folder is None:
        raise OutputError(
            "there is no folder for what is fetched: this user has no home",
            f"set {HOME} to a folder that can be written",
        )
    return folder


def converted_of(name: str) -> Path:
    """Find where a converted file is kept.

    Args:
        name: A model id, or an `hf://` reference.

    Returns:
        The `.safetensors` file, which need not exist.
    """
    return _place(name, ".safetensors")


def record_of(name: str) -> Path:
    """Find where the record of a fetched file is kept.

    Args:
        name: A model id, or an `hf://` reference.

    Returns:
        The `.json` file, which need not exist.
    """
    return _place(name, ".json")


def find(name: str) -> Pin | None:
    """Look up what was fetched.

    Args:
        name: A model id, or an `hf://` reference.

    Returns:
        Its record; None where nothing was fetched, or where the file has gone or changed its size.
    """
    pin = _read(record_of(name))
    return pin if pin is not None and pin.is_there else None


def pins() -> list[Pin]:
    """List everything that was fetched.

    Returns:
        The records, by name, also of files that have gone since.

    Raises:
        OutputError: Their folder cannot be read.
    """
    folder = home()
    try:
        next(folder.iterdir(), None)  # `rglob` finds nothing where it may not look
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be read: {error.strerror or error}", f"set {HOME} to another folder"
        ) from error
    found = (_read(path) for path in folder.rglob("*.json"))
    return sorted((pin for pin in found if pin is not None), key=lambda pin: pin.name)


def keep(pin: Pin) -> None:
    """Write a record, whole or not at all.

    Args:
        pin: The record; its file is there already.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        write_whole(record_of(pin.name), to_json(asdict(pin), indent=2).encode() + b"\n")
    except OSError as error:
        raise cannot_keep(error) from error


def damage(pin: Pin) -> str | None:
    """Check a fetched file against its record.

    Args:
        pin: Its record.

    Returns:
        What is wrong with the file, or None.
    """
    path = pin.path
    if not path.is_file():
        return f"{path} is missing"
    if not pin.is_there:
        return f"{path} has {path.stat().st_size:,} bytes instead of {pin.size:,}"
    found = sha256_of(path)
    return None if found == pin.sha256 else f"{path} has changed: its sha256 is {found}"


def require_unchanged(pin: Pin) -> None:
    """Check a fetched file before it is used; it is read only where it has changed since the last.

    Args:
        pin: Its record.

    Raises:
        CheckpointError: It is not what was fetched.
    """
    found = pin.path.stat()
    if _digest(pin.path, found.st_ino, found.st_size, found.st_mtime_ns) != pin.sha256:
        raise CheckpointError(
            f"{pin.name} is not what was fetched: {pin.path} has changed",
            f"fetch it again: mambair models pull --force {pin.name}",
        )


@functools.cache
def _digest(path: Path, *_stamp: int) -> str:
    return sha256_of(path)


def remove(pin: Pin) -> None:
    """Forget a fetched file, and delete it if it was converted.

    Args:
        pin: Its record.

    Raises:
        OutputError: It cannot be deleted.
    """
    try:
        # The record first: without it, nobody takes what is left.
        record_of(pin.name).unlink(missing_ok=True)
        converted_of(pin.name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{error.filename} cannot be deleted: {error.strerror}",
            "check the folder's permissions",
        ) from error


def cannot_keep(error: OSError) -> OutputError:
    """Make the error for a folder of fetched files that cannot be written.

    Args:
        error: What the system said.

    Returns:
        The error to raise.
    """
    return OutputError(
        f"{home()} cannot be written: {error.strerror or error}",
        f"make room there, or set {HOME} to another folder",
    )


def _place(name: str, suffix: str) -> Path:
    below = name.removeprefix(HUB)
    folder = home() / ("models" if below == name else "hub")
    return folder / f"{below}{suffix}"


def _read(path: Path) -> Pin | None:
    """Read a record; None for what is none, or is not kept under the name that it states."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        pin = Pin(**json.loads(path.read_text("utf-8")))
        kinds = get_type_hints(Pin)
        if all(isinstance(value, kinds[name]) for name, value in asdict(pin).items()):
            return pin if record_of(pin.name) == path else None
    return None
