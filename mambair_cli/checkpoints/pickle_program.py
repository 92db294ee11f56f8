"""What a pickle is about to build, told from its operations without running any.

PyTorch's restricted reader runs no code of a pickle, but two things that it allows harm: zeroed
memory of any size, and tuples in tuples that overflow the stack when they become a key.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from typing import BinaryIO

from torch.serialization import _open_zipfile_reader

DEEPEST = 100  # tuples in tuples; a state dict has three
_LEGACY_PICKLES = 5  # in a row: a number, the protocol, the system, the content, names of storages

_ARCHIVE = b"PK\x03\x04"

_MEMORY = ("__builtin__ bytearray", "builtins bytearray")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")


def harm(file: BinaryIO) -> str | None:
    """Look through the pickles of a file that `torch.save` wrote, or that looks like one.

    Args:
        file: The file, at its beginning.

    Returns:
        What would harm, to be put after the file's name; None if nothing does.

    Raises:
        RuntimeError, OSError, ValueError, LookupError, OverflowError, MemoryError: A part that
            PyTorch would read cannot be looked through; the file must not be loaded then.
    """
    for program in _programs(file):
        if found := _harm(program):
            return found
    return None


def _programs(file: BinaryIO) -> Iterator[BinaryIO]:
    # Both decisions are PyTorch's own, and so is the reader of archives: others take notice of
    # checksums, names in two places and upper case where it does not.
    archived = file.read(len(_ARCHIVE)) == _ARCHIVE
    file.seek(0)
    if archived:
        with _open_zipfile_reader(file) as archive:
            yield io.BytesIO(archive.get_record("data.pkl"))
        return
    for _ in range(_LEGACY_PICKLES):
        yield file


def _harm(program: BinaryIO) -> str | None:
    # How deep the tuples on the reader's stack are; None is a mark.
    stack: list[int | None] = []
    memo: dict[str, int | None] = {}
    for operation, argument, _ in pickletools.genops(program):
        name = operation.name
        if name == "GLOBAL" and argument in _MEMORY:
            return "it asks for memory of any size, which weights do not need"
        if name == "MARK":
            stack.append(None)
        elif name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            memo[str(len(memo) if argument is None else argument)] = stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo.get(str(argument), 0))
        else:
            taken = _take(stack, operation)
            depth = 1 + max((item or 0 for item in taken), default=0) if name in _TUPLES else 0
            if depth > DEEPEST:
                return f"it nests tuples more than {DEEPEST} deep, which weights do not need"
            stack += [depth] * len(operation.stack_after)
    return None


def _take(stack: list[int | None], operation: pickletools.OpcodeInfo) -> list[int | None]:
    """Remove what an operation consumes, and return it."""
    count = len(operation.stack_before)
    if pickletools.markobject in operation.stack_before:
        # Everything down to the mark; the mark and the slice above it are two of the operands.
        above = next((n for n, item in enumerate(reversed(stack)) if item is None), len(stack))
        count += above - 1
    taken = stack[max(0, len(stack) - count) :]
    del stack[max(0, len(stack) - count) :]
    return taken
