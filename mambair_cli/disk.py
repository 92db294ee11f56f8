"""Files on this machine's disks: written whole or not at all, and told apart by their digests."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

_TEMPORARY = ".mambair-*.tmp"
# How file systems, such as object stores mounted as folders, answer to what they have not.
_HAS_NOT = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBUSY)


class AppearedError(FileExistsError):
    """A file that must not be replaced has the name that a new one should take."""


class UnfitError(OSError):
    """A file system lacks something without which no file appears there whole or not at all."""


@contextlib.contextmanager
def whole_file(path: Path, *, replaces: bool = True) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only when it is complete and on the disk.

    It is written under a temporary name in the same directory, flushed to the disk and then
    renamed, so that a failure or an interrupt leaves an existing file as it was and nothing else.
    The file can be read and sought as well. One that replaces another has its permissions and,
    where that is allowed, its owner.

    Args:
        path: The name that it takes; its directory exists.
        replaces: Whether a file that has the name by then is replaced; one with the same bytes is
            left as it is.

    Raises:
        AppearedError: There is such a file, and it is not to be replaced.
        UnfitError: The file system cannot do what is needed.
        OSError: The file cannot be written here.
    """
    if replaces:
        _check_kind(path)
    temporary = path.with_name(_TEMPORARY.replace("*", secrets.token_hex(8)))
    try:
        with temporary.open("x+b") as file:
            with contextlib.suppress(OSError):  # not every file system has locks
                _lock(file)
            yield file
            flush(file)
            if replaces:
                _take_permissions(file, path)
        _take_name(temporary, path, replaces=replaces)
        _keep_name(path.parent)
    finally:
        # After a failure or an interrupt; once renamed, nothing has this name.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview, *, replaces: bool = True) -> None:
    """Write a file that appears, or is replaced, whole or not at all; otherwise as `whole_file`."""
    with whole_file(path, replaces=replaces) as file:
        file.write(content)


def flush(file: IO[bytes] | IO[str]) -> None:
    """Have what was written to a file on the disk, where its file system can tell.

    Raises:
        OSError: It cannot be written.
    """
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _HAS_NOT:
            raise


def check_writable(path: Path) -> None:
    """Find out whether a file can be written, before the work that makes its content.

    Raises:
        OSError: As `whole_file` would raise, but for a disk that is full by then.
    """
    _check_kind(path)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def _check_kind(path: Path) -> None:
    """Refuse to let a file take the place of what is none: of a folder, a device, a pipe.

    Raises:
        OSError: It would.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


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


def user_folder(kind: Literal["cache", "config"] = "cache") -> Path | None:
    """Find the folder for what is kept of a user between runs, or for what the user wants.

    Args:
        kind: Which.

    Returns:
        The folder, which need not exist; None where the system knows no home of this user.
    """
    import platformdirs

    try:
        folder: Path = getattr(platformdirs, f"user_{kind}_path")("mambair", appauthor=False)
    except RuntimeError:
        return None
    # Other releases of platformdirs leave `~` where there is no home: a folder of that name.
    return folder if folder.is_absolute() else None


def temporary_folder() -> Path | None:
    """Make a folder under the temporary directory that nobody else can write to.

    Returns:
        The folder; None where it cannot be made, or where somebody else's has its name.
    """
    user = os.getuid() if sys.platform != "win32" else 0
    try:
        parent = Path(tempfile.gettempdir())
        if parent == Path.cwd():  # what it falls back to: no place for what is kept
            return None
        folder = parent / f"mambair-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    if sys.platform == "win32":  # where the temporary directory itself is the user's
        return folder
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
    return folder if private else None


def refusal(folder: Path) -> str | None:
    """Say why nothing can be written to a folder, or to where it would be made; None if it can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def sha256_of(path: Path) -> str:
    """Digest a file.

    Returns:
        Its SHA-256 as 64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """Digest a file as Git names it, which is what the Hub tells of small files.

    Returns:
        Its object id as 40 hexadecimal digits.
    """
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _take_permissions(file: IO[bytes], path: Path) -> None:
    """Give a file that will replace another its permissions and, if allowed, its owner."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # there is none, or the file system has neither
        replaced = path.lstat()
        if stat.S_ISREG(replaced.st_mode):
            with contextlib.suppress(OSError):
                os.fchown(file.fileno(), replaced.st_uid, replaced.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(replaced.st_mode))


def _take_name(temporary: Path, path: Path, *, replaces: bool) -> None:
    """Rename a complete file or, where that cannot be or nothing may be replaced, link it."""
    ways = (os.replace, os.link) if replaces else (os.link, _rename_as_new)
    failure: OSError | None = None
    for way in ways:
        try:
            way(temporary, path)
        except FileExistsError:
            if not replaces:
                _require_same(temporary, path)
                return
        except OSError as error:
            failure = error if failure is None or way is not os.link else failure
        else:
            return
    assert failure is not None
    if failure.errno in _HAS_NOT:
        reason = f"the file system cannot rename files ({failure.strerror})"
        raise UnfitError(failure.errno, reason) from failure
    raise failure


def _rename_as_new(temporary: Path, path: Path) -> None:
    """Rename where there are no hard links, and nothing is better than to look right before."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    temporary.rename(path)


def _require_same(temporary: Path, path: Path) -> None:
    if not path.is_file() or not filecmp.cmp(temporary, path, shallow=False):
        raise AppearedError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


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
