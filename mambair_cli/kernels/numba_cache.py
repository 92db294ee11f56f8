"""Where compiled Numba kernels live, and what happens when they cannot be kept or read.

They are read from whichever folder has them: beside the package, in the user's folder, in a private
one under the temporary directory. They are written to the first of these that takes them; where
none does, they are compiled for this run alone. `NUMBA_CACHE_DIR` stands for all three. A file that
is damaged, or was made of other sources, does not count, and is written again.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.errors import NumbaError
from numba.core.serialize import dumps

from mambair_cli.disk import refusal, temporary_folder, user_folder, write_whole
from mambair_cli.errors import BackendError
from mambair_cli.kernels.forks import expect_threads

_DIGEST_BYTES = 32
# Folder to the reason why a kernel of this process could not be kept there.
_refusals: dict[Path, str] = {}
_kept_nowhere = False


class Kernel:
    """A function that Numba compiles, for several threads and for one.

    Args:
        function: Written for Numba; `prange` divides its work.
        signature: Types of its arguments, to be compiled at once; None to wait for a call.

    Raises:
        BackendError: It cannot be compiled.
    """

    def __init__(self, function: FunctionType, signature: Any = None) -> None:
        self._function, self._signature = function, signature
        self.parallel = self._compiled(parallel=True)

    @functools.cached_property
    def serial(self) -> Callable[..., None]:
        """The kernel without Numba's threads, compiled when it is first asked for."""
        return self._compiled(parallel=False)

    def _compiled(self, *, parallel: bool) -> Callable[..., None]:
        if parallel:  # compiling it starts the threads
            expect_threads()
        dispatcher: Any = numba.njit(error_model="numpy", parallel=parallel)(self._function)
        # As `enable_caching` does, which would decide about folders itself.
        dispatcher._cache = _Cache(self._function, parallel=parallel)  # noqa: SLF001
        if self._signature is not None:
            try:
                dispatcher.compile(self._signature)
            except (NumbaError, OSError, RuntimeError, ValueError) as error:
                raise BackendError(
                    f"{self._function.__name__} cannot be compiled: {error}",
                    "use --scan torch, which compiles nothing",
                ) from error
            dispatcher.disable_compile()
        compiled: Callable[..., None] = dispatcher
        return compiled


def kernel(signature: Any = None) -> Callable[[FunctionType], Kernel]:
    """Make a kernel of a function; arguments and errors as `Kernel`."""
    return lambda function: Kernel(function, signature)


def folders() -> Iterator[Path]:
    """Yield the folders of compiled kernels, the best one first; not all of them need to exist.

    The one under the temporary directory is made when it is asked for, after the others.
    """
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR).absolute() / "mambair-kernels"
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


class _Cache(NullCache):  # type: ignore[misc]
    """What Numba asks before it compiles a kernel, and tells afterwards."""

    def __init__(self, function: FunctionType, *, parallel: bool) -> None:
        module = function.__module__.rpartition(".")[2]
        kind = "" if parallel else ".serial"
        self._name = f"{module}.{function.__qualname__}{kind}-{sys.implementation.cache_tag}"

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Load a kernel; None where no folder has it."""
        target.refresh()
        name, key = self._entry(signature, target.codegen())
        for folder in folders():
            payload = _read(folder / name, key)
            if payload is not None:
                return CompileResult._rebuild(target, *pickle.loads(payload))  # noqa: S301, SLF001
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a kernel that was compiled, where it can be kept."""
        global _kept_nowhere  # noqa: PLW0603 - what `why_not_kept` tells
        name, key = self._entry(signature, result.codegen)
        payload = dumps(result._reduce())  # noqa: SLF001
        for folder in folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(folder / name, _digest(key, payload) + payload)
            except OSError as error:
                _refusals[folder] = error.strerror or str(error)
            else:
                return
        _kept_nowhere = True

    def _entry(self, signature: Any, codegen: Any) -> tuple[str, bytes]:
        """Name a kernel's file, one for each kind of processor, and what it has to be made of."""
        machine = repr((signature, codegen.magic_tuple())).encode()
        short = hashlib.sha256(machine).hexdigest()[:12]
        return f"{self._name}-{short}.nbc", machine + _sources()


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(key + payload).digest()


def _read(path: Path, key: bytes) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[_DIGEST_BYTES:]
    # Nothing is unpickled, or run, that this code has not written whole.
    return payload if content[:_DIGEST_BYTES] == _digest(key, payload) else None


@functools.cache
def _sources() -> bytes:
    """Digest what kernels are made of: they inline functions of each other's files."""
    digest = hashlib.sha256(f"{sys.version} {numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_bytes()
        if b"\nfrom numba import" in text:  # as all modules with compiled functions do
            digest.update(text)
    return digest.digest()
