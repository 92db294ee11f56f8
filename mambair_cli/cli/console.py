"""The two output streams: data on standard output, everything for people on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mambair_cli.errors import MambairError, without_secrets
from mambair_cli.plain_json import to_json

# Of what `--json` prints: counted up when a key changes its meaning or goes away.
EVENTS_VERSION = 1
# No table is wider; rich needs some number.
FULL_WIDTH = 1000
# Of several failures that are told together.
HINTS_SHOWN = 3
# A file's name may hold what a terminal obeys; it is shown as Python writes it.
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if code != 10}


def stderr_console() -> Console:
    """Make a console on standard error that colours only a terminal and obeys NO_COLOR."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_error(message: str, hint: str | None) -> None:
    """Print a failure: `error: ...`, an empty line, `hint: ...`."""
    console = stderr_console()
    console.print(Text.assemble(("error: ", "bold red"), harmless(message)), soft_wrap=True)
    if hint is not None:
        console.print()
        console.print(Text.assemble(("hint: ", "bold cyan"), harmless(hint)), soft_wrap=True)


def harmless(text: str) -> str:
    """Mask the secrets of a text, and escape its control characters but for the ends of lines."""
    return without_secrets(text).translate(_CONTROLS)


def print_data(line: str) -> None:
    """Print one line of data, at once, so that a reader of a pipe can act on it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object as one line of data."""
    print_data(to_json(value))


def print_table(table: Table) -> None:
    """Print a table that was asked for as data, at full width where that is no terminal."""
    for column in table.columns:
        column.overflow = "fold"
    _stdout_console().print(table)


def print_text(text: Text) -> None:
    """Print one line that was asked for as data, coloured on a terminal."""
    _stdout_console().print(text, soft_wrap=True)


def fits(table: Table) -> bool:
    """Tell whether a table can be printed without folding any cell."""
    console = _stdout_console()
    unlimited = console.options.update(width=FULL_WIDTH)
    return console.measure(table, options=unlimited).maximum <= console.width


def _stdout_console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = FULL_WIDTH
    return console


class Messages:
    """What a command tells: notices and details to people, events to programs.

    Args:
        quiet: Leave out everything for people but errors and warnings.
        verbose: Tell details too.
        as_json: Events go to standard output, one JSON object a line, in place of paths.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False
    ) -> None:
        self.console = stderr_console()
        self.quiet = quiet
        self.verbose = verbose and not quiet
        self.as_json = as_json
        self.lists_results = not as_json

    @property
    def animated(self) -> bool:
        """Whether a progress display that redraws itself is welcome."""
        return self.console.is_terminal and not self.quiet

    def notice(self, text: str, style: str = "") -> None:
        """Tell people something that they should know."""
        if not self.quiet:
            self.print(text, style)

    def warning(self, text: str) -> None:
        """Tell people what may make a result other than they think; said even when quiet."""
        self.print(f"warning: {text}", "yellow")

    def detail(self, text: str) -> None:
        """Tell people something that only `--verbose` asks for."""
        if self.verbose:
            self.notice(text, "dim")

    def failure(self, text: str) -> None:
        """Tell people that one thing of many failed; said even when quiet."""
        self.print(text, "red")

    def print(self, text: str, style: str = "") -> None:
        """Print a line for people, even when quiet."""
        self.console.print(Text(harmless(text), style), soft_wrap=True)

    def event(self, name: str, **values: object) -> None:
        """Tell programs what happened; nothing is printed without `--json`.

        `docs/events.schema.json` describes the events of restoring commands.
        """
        if self.as_json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            time = now.replace("+00:00", "Z")
            print_json({"version": EVENTS_VERSION, "event": name, "time": time, **values})

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something slow is going on: a spinner on a terminal, nothing elsewhere.

        Yields:
            What to tell which part of it is going on.
        """
        if self.animated:
            with self.console.status(Text(text)) as status:
                yield lambda part: status.update(Text(f"{text} {part}"))
        else:
            yield lambda _: None


class OnceOnly(Messages):
    """Messages of which people hear each text once: several devices load the same weights.

    Args:
        messages: Where they are told.
    """

    def __init__(self, messages: Messages) -> None:
        super().__init__(quiet=messages.quiet, verbose=messages.verbose, as_json=messages.as_json)
        self.console = messages.console
        self.lists_results = messages.lists_results
        self._messages = messages
        self._told: set[str] = set()

    def print(self, text: str, style: str = "") -> None:
        """Print a line for people, unless it was printed already."""
        if text not in self._told:
            self._told.add(text)
            self._messages.print(text, style)


def joined_hints(errors: Iterable[MambairError]) -> str | None:
    """Join the first different hints of several failures, a line each; None where there is none."""
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return "\n".join(list(hints)[:HINTS_SHOWN]) or None


def failure_of(errors: Sequence[MambairError], images: int, verb: str) -> MambairError | None:
    """Join the failures of some of the images to one; None where there is none."""
    if not errors or images == 1:
        return next(iter(errors), None)
    listed = "".join(f"\n  {error.message}" for error in errors)
    return MambairError(f"{len(errors)} of {images} images {verb}:{listed}", joined_hints(errors))


def counted(number: int, noun: str) -> str:
    """Write how many there are of something: `1 image`, `2 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Write a time span, such as `0.8 s`, `14 s`, `2 min 5 s` or `1 h 4 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
