"""One image whose result goes to standard output, and which may come from standard input."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mambair_cli.cli.console import Messages
from mambair_cli.cli.contradictions import STANDARD_STREAM
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.errors import MambairError, OutputError, UsageError

INPUT, OUTPUT = "standard input", "standard output"
EXAMPLE = "redirect both, for example: mambair sr - < in.png > out.png"


def is_piped(settings: RestoreSettings) -> bool:
    """Whether the result of the only image goes to standard output."""
    return STANDARD_STREAM in (*(settings.inputs or []), settings.output)


def named_source(settings: RestoreSettings, example: str) -> str:
    """Return the only input that was named, `-` for standard input; see that streams can be used.

    Args:
        settings: What the user asked for.
        example: How it is done.

    Raises:
        UsageError: One of the streams is a terminal, or closed.
    """
    named = (settings.inputs or [STANDARD_STREAM])[0]
    streams = [(sys.stdin, INPUT), (sys.stdout, OUTPUT)]
    for stream, name in streams if named == STANDARD_STREAM else streams[1:]:
        if stream is None:
            raise UsageError(f"{name} is closed", example)
        if stream.isatty():
            raise UsageError(f"{name} is a terminal, and images are no text", example)
    return named


def restore_piped(
    settings: RestoreSettings, restore: Callable[[RestoreSettings, Messages], None]
) -> None:
    """Restore standard input, or one file, to standard output, which gets nothing else.

    The format is the one asked for, or that of the input.

    Args:
        settings: What the user asked for.
        restore: Restores files, given settings that name them.

    Raises:
        UsageError: One of the streams is a terminal, or a folder is named.
        OutputError: There is no room for temporary files.
        MambairError: As `restore` raises.
        BrokenPipeError: Nobody reads the result.
    """
    named = named_source(settings, EXAMPLE)
    with tempfile.TemporaryDirectory(prefix="mambair-") as folder:
        source = Path(folder, INPUT) if named == STANDARD_STREAM else Path(named)
        if named == STANDARD_STREAM:
            _keep(source)
        elif source.is_dir():
            raise UsageError(f"{source} is a folder", "with -o - there is one image")
        suffix, changed = _suffix(source, settings.format)
        target = Path(folder, OUTPUT).with_suffix(suffix)
        piped = replace(settings, inputs=[str(source)], output=str(target), format=None)
        messages = _PipedMessages(settings, source, target)
        if changed:
            messages.notice(f"changed: {changed}")
        try:
            restore(piped, messages)
        except MambairError as error:
            raise type(error)(_without_paths(error.message, source, target), error.hint) from error
        with target.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


class _PipedMessages(Messages):
    """Messages that name the streams instead of temporary files."""

    def __init__(self, settings: RestoreSettings, source: Path, target: Path) -> None:
        super().__init__(quiet=settings.quiet, verbose=settings.verbose)
        self.lists_results = False
        self._files = source, target

    def print(self, text: str, style: str = "") -> None:
        """Print a line for people, even when quiet."""
        super().print(_without_paths(text, *self._files), style)


def _without_paths(text: str, source: Path, target: Path) -> str:
    text = text.replace(str(target), OUTPUT)
    return text.replace(str(source), INPUT) if source.parent == target.parent else text


def _keep(path: Path) -> None:
    try:
        start = sys.stdin.buffer.read(1)
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}", EXAMPLE) from error
    try:
        with path.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise OutputError(
            f"standard input cannot be kept in {path.parent}: {error.strerror}",
            "set TMPDIR to a folder with more room",
        ) from error


def _suffix(source: Path, wanted: str | None) -> tuple[str, str | None]:
    """Return the suffix of the result, and what it says of its format, for people."""
    from mambair_cli.batches.jobs import extension_of
    from mambair_cli.imaging.formats import format_of_content, unwritable

    extension = extension_of(wanted)
    entry = format_of_content(source) if source.is_file() else None
    if extension is not None or entry is None:
        return extension or ".png", None
    suffix = entry.suffixes[0]
    changed = unwritable(suffix)
    return ".png" if changed else suffix, changed
