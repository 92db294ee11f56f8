"""Help, version, and how failures become messages and exit statuses."""

from __future__ import annotations

import errno
import os

import pytest

from mambair_cli.cli.commands import doctor
from mambair_cli.errors import CheckpointError, MambairError, UsageError


@pytest.fixture
def failing(monkeypatch):
    """Makes `mambair doctor` raise what the test says."""

    def arrange(error: BaseException) -> None:
        def fail():
            raise error

        monkeypatch.setattr(doctor, "examine", fail)

    return arrange


def test_version(mambair):
    outcome = mambair("--version")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("mambair 0.")


def test_help_names_every_command(mambair):
    outcome = mambair("--help")
    assert outcome.status == 0
    for command in ("sr", "realsr", "denoise", "dejpeg", "models", "train", "doctor"):
        assert f" {command} " in outcome.out


@pytest.mark.parametrize("arguments", [(), ("models",)])
def test_help_is_shown_where_a_command_is_missing(mambair, arguments):
    outcome = mambair(*arguments)
    assert outcome.status == 2
    assert "Usage: mambair" in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("arguments", "error", "command"),
    [
        (["frob"], "no such command 'frob'", "mambair"),
        (["sr", "a.png", "--scale", "big"], "invalid value for '--scale'", "mambair sr"),
        (["sr", "a.png", "--precision", "fp8"], "invalid value for '--precision'", "mambair sr"),
        (["sr", "a.png", "--overlap", "-1"], "invalid value for '--overlap'", "mambair sr"),
        (
            ["sr", "a.png", "--tile", "-5"],
            "invalid value for '--tile': '-5' is neither auto nor a number of pixels (0 = whole",
            "mambair sr",
        ),
        (
            ["sr", "a.png", "--quality-out", "101"],
            "invalid value for '--quality-out'",
            "mambair sr",
        ),
        (["sr", "a.png", "--frob"], "no such option: --frob", "mambair sr"),
        (["train"], "missing argument 'RECIPE'", "mambair train"),
    ],
)
def test_wrong_usage_exits_2_in_the_common_form(mambair, arguments, error, command):
    outcome = mambair(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    first, empty, hint = outcome.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert empty == ""
    assert hint == f"hint: see what it takes with: {command} --help"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MambairError("the moon is down", "wait"), 1, "error: the moon is down\n\nhint: wait\n"),
        (UsageError("no", "say yes"), 2, "error: no\n\nhint: say yes\n"),
        (CheckpointError("[bold]x[/bold] is cut"), 1, "error: [bold]x[/bold] is cut\n"),
    ],
)
def test_failures_are_told_without_traceback(mambair, failing, error, status, message):
    failing(error)
    outcome = mambair("doctor")
    assert (outcome.status, outcome.out, outcome.err) == (status, "", message)


def test_long_messages_are_not_broken_into_lines(mambair, failing):
    failing(MambairError("word " * 60, "hint " * 60))
    assert len(mambair("doctor").err.splitlines()) == 3


def test_a_bug_exits_70_and_asks_for_a_report(mambair, failing):
    failing(ZeroDivisionError("division by zero"))
    outcome = mambair("doctor")
    assert outcome.status == 70
    assert outcome.err == (
        "error: this is a bug in mambair: ZeroDivisionError: division by zero\n\n"
        "hint: run the command again with --debug and report what it prints\n"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EIO, "Input/output error", "/net/a.png"), "/net/a.png: Input/output error"),
        (OSError(errno.EFBIG, "File too large"), "File too large"),
        (
            PermissionError(errno.EACCES, "Permission denied", b"a\xff"),
            "a\ufffd: Permission denied",
        ),
        (TimeoutError(), "TimeoutError"),
        (MemoryError(), "the memory of this machine does not suffice"),
    ],
)
def test_what_disk_network_and_memory_do_is_no_bug(mambair, failing, error, told):
    failing(error)
    outcome = mambair("doctor")
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {told}\n\nhint: ")


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), MambairError("oh", "do")])
def test_debug_prints_the_traceback(mambair, failing, error):
    failing(error)
    outcome = mambair("doctor", "--debug")
    assert "Traceback (most recent call last)" in outcome.err
    assert "in fail" in outcome.err


@pytest.mark.parametrize("options", [[], ["--debug"]])
@pytest.mark.parametrize("kind", [CheckpointError, ValueError])
def test_passwords_and_tokens_are_never_shown(mambair, failing, options, kind):
    failing(kind("no http://me:top@secret@host:1/a for b'Bearer hf_secret', at s3://host/a@b.png"))
    result = mambair("doctor", *options)
    assert "no http://***@host:1/a for b'Bearer ***', at s3://host/a@b.png" in result.err
    assert "secret" not in result.err
    assert ("Traceback" in result.err) is bool(options)


def test_memory_of_kernels_is_bounded_unless_the_user_says_otherwise(mambair, monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    assert mambair("--version").status == 0
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "128"
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"


def test_interruption_exits_130(mambair, failing):
    failing(KeyboardInterrupt())
    outcome = mambair("doctor")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "error: interrupted\n")


def test_no_colour_without_terminal(mambair):
    assert "\x1b" not in mambair("frob").err
