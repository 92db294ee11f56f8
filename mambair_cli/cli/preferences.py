"""What the user wants always: a file of preferences, and environment variables.

An option is a preference where its declaration says so; it has a variable then. The command line
wins over variables, and those over the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from mambair_cli.cli.option_values import reason_in
from mambair_cli.errors import UsageError

# What names of environment variables begin with.
VARIABLES = "MAMBAIR_"
FILE_VARIABLE = f"{VARIABLES}CONFIG"
# What is no option: where things are.
PLACES = (FILE_VARIABLE, f"{VARIABLES}HOME", f"{VARIABLES}DATASETS")
# How alike names of variables are that are taken for one, misspelt.
_ALIKE = 0.8

# Options that are preferences, by their names without dashes.
Options = Mapping[str, Any]
Table = Mapping[str, Any]


@dataclass(frozen=True)
class Preference:
    """What the user wants always.

    Attributes:
        key: Name of an option without its dashes.
        command: For which command, such as `sr` or `models list`; empty for all that take it.
        value: As it was written.
        origin: Where it was: a variable, or a file and its table.
    """

    key: str
    command: str
    value: str
    origin: str


@dataclass
class Invocation:
    """What `main` must know of a command line even when the command fails.

    Attributes:
        debug: Whether to print tracebacks.
        resumes: Whether the command goes on with an earlier run; None if it cannot.
        preferences: What holds where the command line says nothing else.
    """

    debug: bool = False
    resumes: bool | None = None
    preferences: list[Preference] = field(default_factory=list)


def variable_of(option: str) -> str:
    """Return the environment variable that sets an option which is a preference."""
    return f"{VARIABLES}{option.removeprefix('--').replace('-', '_').upper()}"


def file_path() -> Path | None:
    """Return where the file of preferences is looked for; None where none is wanted.

    Raises:
        UsageError: `MAMBAIR_CONFIG` names no file.
    """
    named = os.environ.get(FILE_VARIABLE)
    if named is None:
        from mambair_cli.disk import user_folder

        folder = user_folder("config")
        return None if folder is None else folder / "config.toml"
    if not named:
        return None
    # Also a device or a pipe.
    if not os.path.exists(named) or os.path.isdir(named):  # noqa: PTH110, PTH112 - no error
        raise UsageError(
            f"{FILE_VARIABLE} names {named}, which is no file", "name one, or unset the variable"
        )
    return Path(named)


def apply(context: typer.Context) -> None:
    """Read and check preferences, and have options take them where nothing else is said.

    Args:
        context: Of the application, before its command is parsed.

    Raises:
        UsageError: The file cannot be read, or it or a variable holds what is no preference.
    """
    commands: Mapping[str, Any] = context.command.commands  # type: ignore[attr-defined]
    by_command = {name: found for name in commands if (found := _options(commands[name]))}
    path = file_path()
    # What is there and cannot be read is an error; what nobody can see is not there.
    table = _read(path) if path is not None and os.path.lexists(path) else {}
    general = {key: value for key, value in table.items() if not isinstance(value, dict)}
    special = {key: value for key, value in table.items() if isinstance(value, dict)}
    written = list(_from_file(context, general, special, str(path), by_command))
    variables = list(_from_variables(context, by_command))
    context.default_map = {
        name: _defaults(command, general | special.get(name, {}))
        for name, command in commands.items()
    }
    if isinstance(context.obj, Invocation):
        overruled = {each.key for each in variables}
        in_force = [each for each in written if each.key not in overruled]
        context.obj.preferences = [*in_force, *variables]


def is_preferred(context: typer.Context, name: str) -> bool:
    """Tell whether an option has its value from a preference."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("ENVIRONMENT", "DEFAULT_MAP")


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}",
            f"check what you may do with it, or do without: {FILE_VARIABLE}= mambair ...",
        ) from error
    except ValueError as error:  # of TOML and of UTF-8
        raise UsageError(
            f"{path} is not TOML: {error}", 'a line of it looks like: device = "cpu"'
        ) from error


def _options(command: Any) -> Options:
    """List the preferences among the options of a command, and of the commands in it."""
    found: dict[str, Any] = {}
    for inner in getattr(command, "commands", {}).values():
        found |= _options(inner)
    return found | {_key(option): option for option in command.params if option.envvar}


def _key(option: Any) -> str:
    longest: str = max(option.opts, key=len)
    return longest.removeprefix("--")


def _defaults(command: Any, wanted: Table) -> dict[str, Any]:
    """Return what Click's `default_map` is for a command."""
    own = {
        option.name: _typed(wanted[_key(option)])
        for option in command.params
        if option.envvar and _key(option) in wanted
    }
    inner = getattr(command, "commands", {})
    return own | {name: _defaults(each, wanted) for name, each in inner.items()}


def _typed(value: object) -> object:
    """Return a value as the command line would give it."""
    return value if isinstance(value, bool) else str(value)


def _from_file(
    context: typer.Context,
    general: Table,
    special: Mapping[str, Table],
    path: str,
    by_command: Mapping[str, Options],
) -> Iterator[Preference]:
    """Check what a file says, and tell of it."""
    every = {key: option for found in by_command.values() for key, option in found.items()}
    for key, value in general.items():
        if key not in every:
            raise _unknown(f"{path}: {key}", key, [*every, *by_command])
        yield Preference(key, "", _checked(context, path, key, value, every[key]), path)
    for name, table in special.items():
        place = f"{path} [{name}]"
        if name not in by_command:
            raise _unknown(place, name, list(by_command))
        for key, value in table.items():
            if key not in by_command[name]:
                raise _unknown(f"{place}: {key}", key, list(by_command[name]))
            shown = _checked(context, place, key, value, by_command[name][key])
            yield Preference(key, name, shown, place)


def _from_variables(
    context: typer.Context, by_command: Mapping[str, Options]
) -> Iterator[Preference]:
    """Check the variables that are set, and tell of them."""
    options = {each.envvar: each for found in by_command.values() for each in found.values()}
    known = [*options, *PLACES]
    for name, value in sorted(os.environ.items()):
        if name in options and value:
            _check(context, name, value, options[name])
            yield Preference(_key(options[name]), "", value, name)
        elif name.startswith(VARIABLES) and name not in known:
            # Another program may have variables that begin so, but none that reads like ours.
            short = [each.removeprefix(VARIABLES) for each in known]
            if nearest := _nearest(name.removeprefix(VARIABLES), short, _ALIKE):
                raise UsageError(f"there is no {name}", f"did you mean {VARIABLES}{nearest}?")


def _checked(context: typer.Context, place: str, key: str, value: object, option: Any) -> str:
    """Return how a value of a file is written.

    Raises:
        UsageError: The option does not take it.
    """
    flag = isinstance(value, bool)
    shown = str(value).lower() if flag else str(value)
    if option.is_flag and not flag:
        raise UsageError(f"{place}: {key} = {shown} is neither true nor false", "write one of them")
    if not option.is_flag and (flag or not isinstance(value, (str, int, float))):
        takes = option.metavar or "a text or a number"
        raise UsageError(f"{place}: {key} = {shown} is of a wrong kind", f"it takes: {takes}")
    _check(context, f"{place}: {key}", _typed(value), option)
    return shown


def _check(context: typer.Context, place: str, value: object, option: Any) -> None:
    try:
        option.process_value(context, value)
    except typer.BadParameter as error:
        raise UsageError(
            f"{place} = {value}: {reason_in(error.message)}", f"it is the value of --{_key(option)}"
        ) from error


def _unknown(place: str, name: str, known: Sequence[str]) -> UsageError:
    nearest = _nearest(name, known)
    return UsageError(
        f"{place} is no preference",
        f"did you mean {nearest}?" if nearest else f"there are: {', '.join(sorted(known))}",
    )


def _nearest(name: str, known: Sequence[str], alike: float = 0.6) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, 1, alike)), None)
