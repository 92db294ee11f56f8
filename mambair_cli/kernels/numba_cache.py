"""Where compiled kernels live, and what happens when they cannot be kept or read.

They are read from whichever folder has them: beside the package, in the user's folder, in a private
one under the temporary directory. They are written to the first of these that takes them; where
none does, they are compiled for this run alone. `NUMBA_CACHE_DIR` stands for all three. A file that
is damaged, or was made of other sources, does not count, and is written again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from mambair_cli.disk import refusal, temporary_folder, user_folder, write_whole

_DIGEST_BYTES = 32
# Folder to the reason why a kernel of this process could not be kept there.
_refusals: dict[Path, str] = {}
_kept_nowhere = False


def folders() -> Iterator[Path]:
    """Yield the folders of compiled kernels, the best one first; not all of them need to exist.

    The one under the temporary directory is made when it is asked for, after the others.
    """
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen).absolute() / "mambair-kernels"
        return
    yield Path(__file__).parent / "__pycache__"
    for find in (user_folder, temporary_folder):
        if (folder := find()) is not None:
            yield folder / "kernels"


def place() -> str:
    """Say where compiled kernels are kept, for people."""
    reasons: list[str] = []
    for folder in folders():
        reason = refusal(folder)
        if reason is None:
            return f"{folder} ({'; '.join(reasons)})" if reasons else str(folder)
        reasons.append(f"not in {folder}: {reason}")
    return f"compiled for each run alone ({'; '.join(reasons)})"


def why_not_kept() -> str | None:
    """Say why kernels that this process compiled are lost when it ends; None if they are kept."""
    if not _kept_nowhere:
        return None
    return "; ".join(f"{folder}: {reason}" for folder, reason in _refusals.items())


def read(name: str, key: bytes) -> bytes | None:
    """Read what was kept under a name and for a key; None where no folder has it."""
    file, key = _entry(name, key)
    found = (_read(folder / file, key) for folder in folders())
    return next((payload for payload in found if payload is not None), None)


def keep(name: str, key: bytes, payload: bytes) -> None:
    """Keep what was compiled, where it can be kept.

    Args:
        name: Of the file, which each key gets one of.
        key: What the payload was made for, beside the sources.
        payload: What `read` will return.
    """
    global _kept_nowhere  # noqa: PLW0603 - what `why_not_kept` tells
    file, key = _entry(name, key)
    for folder in folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file, _digest(key, payload) + payload)
        except OSError as error:
            _refusals[folder] = error.strerror or str(error)
        else:
            return
    _kept_nowhere = True


def _entry(name: str, key: bytes) -> tuple[str, bytes]:
    return f"{name}-{hashlib.sha256(key).hexdigest()[:12]}.kernel", key + _sources()


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(key + payload).digest()


def _read(path: Path, key: bytes) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_DIGEST_BYTES:]
    # Nothing is run that this code has not written whole.
    return payload if content[:_DIGEST_BYTES] == _digest(key, payload) else None


@functools.cache
def _sources() -> bytes:
    """Digest what kernels are made of: they inline functions of each other's files."""
    digest = hashlib.sha256(f"{version('numba')} {version('llvmlite')}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_bytes()
        # As all modules with compiled functions do, and what packs and loads them.
        if re.search(rb"\nfrom (numba|llvmlite) import", text):
            digest.update(text)
    return digest.digest()
