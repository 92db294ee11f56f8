"""The `mambair` application: the one place where failures become messages and exit statuses."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, NoReturn

import typer

from mambair_cli.cli import garbage, interrupts, preferences, streams
from mambair_cli.cli.commands import bench, compare, doctor, models, restore, train
from mambair_cli.cli.console import print_error
from mambair_cli.cli.option_values import reason_in
from mambair_cli.cli.preferences import Invocation
from mambair_cli.errors import MambairError, failure_of_system, without_secrets


class ExitStatus(IntEnum):
    """What the exit status of every command means."""

    DONE = 0
    FAILED = 1
    WRONG_REQUEST = 2
    BUG = 70
    INTERRUPTED = 130
    READER_GONE = 141


# Read by libraries when they are first imported or used, which happens inside the commands.
# oneDNN, and the layer between torch and it, each keep 1024 kernels, one for every size that an
# operation has seen: in a batch of ever other sizes memory grows for a thousand images. The network
# of most kinds has 69 for one size, and making one again takes a fraction of a millisecond.
ENVIRONMENT_DEFAULTS: dict[str, str] = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    "LRU_CACHE_CAPACITY": "128",
    # Threads that have done their share of a step wait for the next at full speed, by default for
    # milliseconds, which other programs could use: here for some tenths of one, as long as it takes
    # from step to step. GNU's OpenMP goes by its own variable, others have only a yes or no.
    "GOMP_SPINCOUNT": "5000",
    "OMP_WAIT_POLICY": "PASSIVE",
}

# What a shell sets to have words completed.
COMPLETION_VARIABLE = "_MAMBAIR_COMPLETE"

app = typer.Typer(
    name="mambair",
    help="Restore images with MambaIR: super-resolution, denoising, removal of JPEG artefacts.",
    epilog="What you want always stands in a file of preferences, or in MAMBAIR_* variables: "
    "`mambair doctor` says which are in force, and where the file is looked for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(restore.fix)
app.command()(restore.sr)
app.command()(restore.realsr)
app.command()(restore.denoise)
app.command()(restore.dejpeg)
app.add_typer(models.app, name="models")
app.command()(bench.bench)
app.command()(compare.compare)
app.command()(train.train)
app.command()(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mambair {version('mambair')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""
    preferences.apply(context)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: The words after `mambair`; None for those of this process.

    Returns:
        The exit status.
    """
    for name, value in ENVIRONMENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    invocation = Invocation()
    try:
        status = app(
            args=None if arguments is None else list(arguments),
            prog_name="mambair",
            standalone_mode=False,
            obj=invocation,
        )
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except SystemExit as ended:
        # How Typer ends when nobody reads standard output any more. To the shell it is as if the
        # signal had ended us that ends other programs then; nothing is said. A shell that has words
        # completed is told by the status whether there are any.
        completes = COMPLETION_VARIABLE in os.environ
        status = ended.code if completes else ExitStatus.READER_GONE
    # Nothing below this function catches broadly, so that a bug of ours is told from a failure.
    except Exception as error:  # noqa: BLE001
        status = _report(error, invocation)
    if status == ExitStatus.INTERRUPTED:
        words = sys.argv[1:] if arguments is None else list(arguments)
        print_error("interrupted", _how_to_go_on(words, invocation))
    return int(status or ExitStatus.DONE)


def _how_to_go_on(words: Sequence[str], invocation: Invocation) -> str | None:
    # What came through a pipe does not come a second time, and a dry run has done nothing.
    if invocation.resumes is None or not {"-", "--dry-run"}.isdisjoint(words):
        return None
    return f"go on with: {interrupts.resume_command(words, resumes=invocation.resumes)}"


def _report(error: Exception, invocation: Invocation) -> int:
    if invocation.debug:
        sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
    error = failure_of_system(error) or error
    if isinstance(error, MambairError):
        print_error(error.message, _with_origins(error, invocation))
        return error.exit_status
    if isinstance(error, typer.TyperException):
        return _report_usage(error)
    print_error(
        f"this is a bug in mambair: {type(error).__name__}: {error}",
        None
        if invocation.debug
        else "run the command again with --debug and report what it prints",
    )
    return ExitStatus.BUG


def _with_origins(error: MambairError, invocation: Invocation) -> str | None:
    """Say in a hint where a value comes from that was not given on the command line."""
    told = (
        f"{each.key} = {each.value} comes from {each.origin}"
        for each in invocation.preferences
        if re.search(rf"(?<!\w){re.escape(each.value)}(?!\w)", error.message)
    )
    return "\n".join(filter(None, [error.hint, *told])) or None


def _report_usage(error: typer.TyperException) -> int:
    message = reason_in(error.format_message())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mambair"
    if message:
        print_error(message[0].lower() + message[1:], f"see what it takes with: {command} --help")
    return ExitStatus.WRONG_REQUEST


def _stop_at_once() -> None:
    interrupts.say("error: stopped at once")
    os._exit(ExitStatus.INTERRUPTED)


def main() -> NoReturn:
    """Entry point of the `mambair` command."""
    garbage.begin_start()
    streams.install()  # first: other files would take the place of closed streams
    interrupts.install(_stop_at_once)
    status = run()
    try:
        if (lost := streams.loss()) is not None:
            print_error(f"standard output cannot be written: {lost}", None)
            status = status or ExitStatus.FAILED
    except BrokenPipeError:
        streams.abandon_output()
        status = ExitStatus.READER_GONE
    sys.exit(status)
