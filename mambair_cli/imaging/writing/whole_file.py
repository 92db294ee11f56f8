"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from mambair_cli.errors import OutputError

_TEMPORARY = ".mambair-*.tmp"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only when it is complete and on the disk.

    It is written under a temporary name in the same directory, flushed to the disk and then
    renamed, so that a failure or an interrupt leaves an existing file as it was and nothing else.
    Missing parent directories are made. The file can be read and sought as well.

    Args:
        path: The name that it takes.

    Raises:
        OutputError: The file cannot be written here, or the format that is written into it has a
            field too small for a value: whatever the body raises of `OSError`, `ValueError`,
            `OverflowError` and `struct.error`.
    """
    temporary = path.with_name(_TEMPORARY.replace("*", secrets.token_hex(8)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x+b") as file:
            with contextlib.suppress(OSError):  # not every file system has locks
                _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _keep_name(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            f"cannot write {path}: {path.parent} is not a directory",
            hint="choose another place with -o/--output",
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", hint=_remedy(path, error)
        ) from error
    except (ValueError, OverflowError, struct.error) as error:  # a field of the format is too small
        raise OutputError(
            f"cannot write {path}: {error}", hint="write PNG instead: --format png"
        ) from error
    finally:
        # After a failure or an interrupt; once renamed, nothing has this name.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_unfinished(directories: Iterable[Path]) -> int:
    """Remove what processes that were killed have left in directories.

    What another process is writing stays: until that process ends, in whichever way, the file is
    locked. Where the file system has no locks, nothing is removed.

    Returns:
        How many files were removed.
    """
    removed = 0
    for path in [path for directory in directories for path in directory.glob(_TEMPORARY)]:
        with contextlib.suppress(OSError):
            _remove_unlocked(path)
            removed += 1
    return removed


def _remove_unlocked(path: Path) -> None:
    if sys.platform == "win32":  # where nobody removes what is open
        path.unlink()
        return
    with path.open("r+b") as file:
        _lock(file)
        path.unlink()


def _lock(file: IO[bytes]) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _keep_name(directory: Path) -> None:
    """Flush the directory's entries, where the system can: without it a power cut undoes a name."""
    with contextlib.suppress(OSError):  # Windows opens no directories, some disks flush none
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remedy(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space, or choose another place with -o/--output"
    return f"check the permissions of {path.parent}, or choose another place with -o/--output"
