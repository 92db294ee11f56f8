"""What a batch looks like on a terminal, and what the two streams get."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mambair_cli.batches.events import (
    DeviceLost,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    TileDone,
    Timings,
)
from mambair_cli.batches.jobs import Job
from mambair_cli.cli.console import Messages, duration
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.errors import ImageError
from mambair_cli.imaging.metadata.image_metadata import ContentReport

JOB = Job(
    Path("in/a rather long name of a photograph of the harbour.png"), Path("out/x.png"), Path("out")
)

TIMES = Timings(0.1, 2.0, 0.24)


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


class Terminal(io.StringIO):
    """What both streams are connected to."""

    def isatty(self):
        return True


def test_bars_do_not_wipe_printed_paths(monkeypatch):
    shared, messages = Terminal(), Messages()
    messages.console = Console(file=shared, force_terminal=True, width=80, legacy_windows=False)
    monkeypatch.setattr(sys, "stdout", shared)
    other = Job(Path("in/other.png"), Path("out/other.png"), Path("out"))
    with BatchDisplay(messages, 3, ["cuda:0", "cuda:1"]) as display:
        display.show(FileStarted(JOB, 1, 3, "cuda:0"))
        display.show(FileStarted(other, 2, 3, "cuda:1"))
        display._progress.refresh()
        display.show(FileDone(JOB, TIMES, 40, 30, 999))
        display._progress.refresh()
        shown = shared.getvalue()
    before_bars, *_ = shown.split(f"{JOB.target}\n")[1].split("all images")
    assert "\x1b[1A" not in before_bars


def test_each_device_has_a_bar(terminal):
    other = Job(Path("in/other.png"), Path("out/other.png"), Path("out"))
    with BatchDisplay(terminal, 4, ["cuda:0", "cuda:1"]) as display:
        display.show(FileStarted(other, 1, 4, "cuda:1"))
        display.show(FileStarted(JOB, 2, 4, "cuda:0"))
        display.show(TileDone(other, 1, 6))
        display.show(TileDone(JOB, 5, 8))
        display._progress.refresh()
        both = terminal.console.file.getvalue().split("\x1b[2K")[-1]
        third = Job(Path("in/third.png"), Path("out/third.png"), Path("out"))
        display.show(FileStarted(third, 3, 4, "cuda:1"))
        display.show(FileDone(other, TIMES, 40, 30, 999))
        display.show(DeviceLost("cuda:0", JOB, "CUDA error: launch failure"))
        display._progress.refresh()
        later = terminal.console.file.getvalue()
    assert "cuda:0: a rather" in both
    assert "5/8" in both
    assert "cuda:1: other.png" in both
    assert "1/6" in both
    assert "cuda:0 failed and is not used any more: CUDA error: launch failure" in later
    assert "cuda:1: third.png" in later.split("\x1b[2K")[-1]
    assert "cuda:0" not in later.split("\x1b[2K")[-1]


def test_lines_without_terminal(capfd):
    with BatchDisplay(Messages(), 3, ["cpu"]) as display:
        display.show(FileStarted(JOB, 1, 3, "cpu"))
        display.show(TileDone(JOB, 0, 1))
        display.show(FileDone(JOB, TIMES, 40, 30, 999))
        display.show(FileSkipped(JOB, "done by an earlier run"))
        display.show(FileFailed(JOB, ImageError("it is cut", "mend it")))
    out, err = capfd.readouterr()
    assert out == f"{JOB.target}\n"
    assert err.splitlines() == [
        f"{JOB.source}: 40x30 in 2.3 s",
        f"{JOB.source}: skipped, done by an earlier run",
        "failed: it is cut",
        "1 restored, 1 skipped, 1 failed in 0.0 s",
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


def test_progress_is_weighted_by_pixels_and_counts_images(terminal):
    small, other = (Job(Path(f"in/{n}.png"), Path(f"out/{n}.png"), Path("out")) for n in "ab")
    pixels = {JOB.source: 9000, small.source: 1000, other.source: 5000}
    with BatchDisplay(terminal, 3, ["cpu"], pixels) as display:
        whole = display._progress.tasks[0]
        display.show(FileSkipped(other, "done by an earlier run"))
        assert (whole.completed, whole.total) == (0, 10000)
        display.show(FileStarted(JOB, 1, 3, "cpu"))
        display.show(TileDone(JOB, 0, 4))
        display.show(TileDone(JOB, 3, 4))
        assert whole.completed == 6750
        display.show(TileDone(JOB, 0, 9))  # memory ran out: it begins again
        assert whole.completed == 0
        display.show(FileDone(JOB, TIMES, 40, 30, 999))
        assert whole.completed == 9000
        display.show(FileFailed(small, ImageError("it is cut")))
        assert (whole.completed, whole.total) == (9000, 9000)
        display._progress.refresh()
    assert "3/3 images" in terminal.console.file.getvalue()


def test_verbose_tells_times_and_what_became_of_everything(capfd):
    report = ContentReport(kept=("EXIF", "16 bits"), dropped=("thumbnail",))
    with BatchDisplay(Messages(verbose=True), 1, ["cpu"]) as display:
        display.show(FileDone(JOB, TIMES, 40, 30, 999, images=3, report=report))
    assert capfd.readouterr().err.splitlines() == [
        f"{JOB.source}: 3 images of 40x30 in 2.3 s",
        f"{JOB.source}: reading 0.1 s, network 2.0 s, writing 0.2 s",
        f"{JOB.source}: kept: EXIF, 16 bits",
        f"{JOB.source}: dropped: thumbnail",
    ]


def interrupted():
    with BatchDisplay(Messages(), 3, ["cpu"]) as display:
        display.show(FileDone(JOB, TIMES, 40, 30, 999))
        raise KeyboardInterrupt


def test_an_interrupted_batch_says_what_is_left(capfd):
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capfd.readouterr().err.splitlines()[-1] == "1 restored, 2 left in 0.0 s"
