"""Signals that end a run: the first in good order, the second at once, wherever the run is."""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path

import pytest
from event_lines import read_events
from forked_runs import PATIENCE, Run

from mambair_cli.cli import interrupts

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")

# Statements that have a run wait in a place of the program, having said so.
WAIT = """
import time
from mambair_cli.{module} import {owner} as owner

def wait(*_, **__):
    import os
    os.write(2, b"waiting\\n")
    {how}

owner.{name} = wait
"""
PLACES = {
    "reading": ("imaging.files", "InputFile", "read"),
    "writing": ("batches", "stages", "write_images"),
    "compiling": ("cli", "restoring", "prepare_scan"),
    "loading": ("batches", "models", "load_checkpoint"),
    "restoring": ("restoration", "chain", "restore_images"),
}
OTHERS = ("SIGTERM", "SIGHUP")
SLEEP = "time.sleep(600)"
# As code does that is stuck, or takes an interrupt for its own.
STUCK = """
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            os.write(2, b"still here\\n")"""


def until(path: Path) -> str:
    """Waits for a file, and then long enough for a signal that was sent before it was there."""
    return f"""
    while not os.path.exists({str(path)!r}):
        time.sleep(0.01)
    time.sleep(0.3)"""


def before(place: str, how: str = SLEEP) -> str:
    package, owner, name = PLACES[place]
    return WAIT.format(module=package, owner=owner, name=name, how=how)


def wait_for(run: Run, text: str) -> None:
    end = time.monotonic() + PATIENCE
    while text not in run.err:
        assert time.monotonic() < end, run.err
        time.sleep(0.01)


@pytest.fixture
def start(launcher, weights, make_image, tmp_path):
    """Starts `mambair sr` on a folder of three images, in `out`."""
    for index in range(3):
        make_image(tmp_path / "in" / f"{index}.png", 40 + index, 30)

    def start(*arguments, before=""):
        return launcher.start(
            tmp_path / "printed",
            *("sr", tmp_path / "in", "-o", tmp_path / "out", "--scan", "torch"),
            *("--weights", weights / "sr-x2.safetensors", *arguments),
            before=before,
        )

    return start


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").glob("*"))


@pytest.mark.parametrize(
    "name", ["SIGINT", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_signal_ends_the_run_and_the_printed_command_goes_on(name, start, launcher, tmp_path):
    sent = tmp_path / "sent"
    writing = before("writing", f"{until(sent)}\n    return write(*_, **__)").replace(
        "def wait", "write = owner.write_images\ndef wait"
    )
    run = start("--json", "--tile", "32", before=writing)
    wait_for(run, "waiting")
    os.kill(run.pid, getattr(signal, name))
    sent.touch()
    assert run.wait() == 130
    # What was being written is there, told and recorded.
    *_, done, interrupted, summary = read_events(run.out)
    assert (done["event"], interrupted["event"], interrupted["left"]) == (
        *("file_done", "interrupted"),
        2,
    )
    assert (summary["restored"], summary["left"]) == (1, 2)
    assert written(tmp_path) == [".mambair-manifest.jsonl", "0_x2.png"]
    error, empty, hint = run.err.splitlines()[-3:]
    assert (error, empty) == ("error: interrupted", "")
    program, *words = shlex.split(hint.removeprefix("hint: go on with: "))
    assert program == "mambair"
    assert words[:2] == ["sr", "--resume"]
    again = launcher.start(tmp_path / "again", *words)
    assert again.wait() == 0, again.err
    summary = read_events(again.out)[-1]
    assert (summary["restored"], summary["skipped"]) == (2, 1)


@pytest.mark.parametrize(
    ("place", "name"), list(zip(PLACES, ["SIGINT", *OTHERS, *OTHERS], strict=True))
)
def test_a_signal_ends_the_run_wherever_it_is(place, name, start, tmp_path):
    sent = tmp_path / "sent"
    run = start(before=before(place, SLEEP if place != "writing" else until(sent)))
    wait_for(run, "waiting")
    os.kill(run.pid, getattr(signal, name))
    sent.touch()
    assert run.wait() == 130
    assert "error: interrupted" in run.err
    assert "Traceback" not in run.err
    assert not [name for name in written(tmp_path) if not name.endswith(".jsonl")]


@pytest.mark.parametrize("place", ["reading", pytest.param("restoring", marks=pytest.mark.slow)])
def test_a_second_signal_ends_the_run_at_once(place, start, tmp_path):
    run = start(before=before(place, STUCK))
    wait_for(run, "waiting")
    os.kill(run.pid, signal.SIGINT)
    wait_for(run, "still here")
    time.sleep(interrupts.SAME_SECONDS)
    wait_for(run, interrupts.NOTICE)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 130
    assert run.err.splitlines()[-1] == "error: stopped at once"
    assert not [name for name in written(tmp_path) if not name.endswith(".jsonl")]


def test_a_signal_that_comes_twice_at_once_is_one(start):
    run = start(before=before("restoring"))
    wait_for(run, "waiting")
    os.kill(run.pid, signal.SIGINT)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 130
    assert "error: interrupted" in run.err
    assert "at once" not in run.err


def test_signals_that_were_ignored_stay_so(start, tmp_path):
    sent = tmp_path / "sent"
    ignore = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    run = start(before=ignore + before("compiling", until(sent)))
    wait_for(run, "waiting")
    os.kill(run.pid, signal.SIGHUP)
    sent.touch()
    assert run.wait() == 0, run.err


@pytest.mark.parametrize(
    ("arguments", "resumes", "command"),
    [
        (["sr", "a b.png"], False, "mambair sr --resume 'a b.png'"),
        (["sr", "--resume", "a.png"], True, "mambair sr --resume a.png"),
        (["sr", "-o", "out", "--", "-odd.png"], False, "mambair sr --resume -o out -- -odd.png"),
    ],
)
def test_the_command_that_goes_on(monkeypatch, arguments, resumes, command):
    monkeypatch.setattr("sys.argv", ["mambair", *arguments])
    assert interrupts.resume_command(arguments, resumes=resumes) == command


@pytest.mark.parametrize("words", [["sr", "-"], ["sr", "a.png", "--dry-run"], ["doctor"]])
def test_nothing_is_offered_that_cannot_go_on(launcher, tmp_path, words):
    run = launcher.start(tmp_path, *words, before=INTERRUPTED)
    assert run.wait() == 130
    assert run.err == "error: interrupted\n"


INTERRUPTED = """
from mambair_cli.cli.commands import doctor, restore

def interrupt(*_, **__):
    raise KeyboardInterrupt

restore.restore_files = doctor.examine = interrupt
"""
