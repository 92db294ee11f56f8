"""What a batch looks like on a terminal, and what the two streams get."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mambair_cli.cli.console import Messages, duration
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.errors import ImageError
from mambair_cli.restoration.batch import (
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    Job,
    TileDone,
)

JOB = Job(Path("in/a rather long name of a photograph of the harbour.png"), Path("out/x.png"))


@pytest.fixture(params=[80, 120])
def terminal(request):
    """Messages that go to a terminal of that width, kept in a buffer."""
    messages = Messages()
    messages.console = Console(
        file=io.StringIO(), force_terminal=True, width=request.param, legacy_windows=False
    )
    return messages


def test_bars_show_images_and_tiles(terminal):
    with BatchDisplay(terminal, 3, ["cpu"]) as display:
        display.show(FileStarted(JOB, 1, 3, "cpu"))
        display.show(TileDone(JOB, 0, 6))
        display.show(TileDone(JOB, 2, 6))
        display._progress.refresh()
        shown = terminal.console.file.getvalue()
    last = shown.split("\x1b[2K")[-1]
    assert "all images" in last
    assert "2/6" in last
    assert "tiles" in last
    assert "\N{HORIZONTAL ELLIPSIS}" in last


def test_a_single_image_has_one_bar(terminal):
    with BatchDisplay(terminal, 1, ["cpu"]) as display:
        display.show(FileStarted(JOB, 1, 1, "cpu"))
        display._progress.refresh()
    assert "all images" not in terminal.console.file.getvalue()


def test_lines_without_terminal(capfd):
    with BatchDisplay(Messages(), 3, ["cpu"]) as display:
        display.show(FileStarted(JOB, 1, 3, "cpu"))
        display.show(TileDone(JOB, 0, 1))
        display.show(FileDone(JOB, 2.34, 40, 30, 999))
        display.show(FileSkipped(JOB, "done by an earlier run"))
        display.show(FileFailed(JOB, ImageError("it is cut", "mend it")))
    out, err = capfd.readouterr()
    assert out == f"{JOB.target}\n"
    assert err.splitlines() == [
        f"{JOB.source}: 40x30 in 2.3 s",
        f"{JOB.source}: skipped, done by an earlier run",
        "failed: it is cut",
    ]


def test_colour_is_obeyed(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    messages = Messages()
    messages.console = Console(file=io.StringIO(), force_terminal=True)
    messages.notice("careful", "red")
    assert messages.console.file.getvalue() == "careful\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (3840, "1 h 4 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
