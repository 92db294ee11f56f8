"""How a batch is shown while it runs: bars, one line a file, or the events that `--json` prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mambair_cli.cli.console import Messages, duration, print_data
from mambair_cli.errors import MambairError

if TYPE_CHECKING:
    from mambair_cli.batches import events
    from mambair_cli.batches.jobs import Job
    from mambair_cli.batches.notices import Notice
    from mambair_cli.batches.treatment.steps import ToldStep
    from mambair_cli.batches.urls import Place

# Seconds that the time left is reckoned from: an image may take many minutes.
SPEED_PERIOD = 3600


class BatchDisplay:
    """Shows the events of a batch; used as a context manager around it, and sums it up at its end.

    Args:
        messages: Where to show them.
        images: How many images there are.
        devices: Names of the devices that restore them; each has a bar for the image it works on.
        pixels: Input pixels of the files, by which progress is weighted; files that are not in it
            count as one pixel.
    """

    def __init__(
        self,
        messages: Messages,
        images: int,
        devices: Sequence[str],
        pixels: Mapping[Place, int] | None = None,
    ) -> None:
        from mambair_cli.batches.events import Summary

        self.summary = Summary()
        self._notices: list[Notice] = []
        self._messages = messages
        self._images = images
        self._pixels = pixels or {}
        self._shared = len(devices) > 1
        self._began = time.perf_counter()
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=32),
            ),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=messages.console,
            disable=not messages.animated,
            redirect_stdout=False,
            transient=True,
            expand=True,
            speed_estimate_period=SPEED_PERIOD,
        )
        self._batch = self._progress.add_task(
            "all images",
            total=sum(self._pixels.values()) + images - len(self._pixels),
            count=f"0/{images} images",
            visible=images > 1,
        )
        self._bars = {
            device: self._progress.add_task("", total=None, count="", visible=False)
            for device in devices
        }
        self._device_of: dict[Place, str] = {}
        self._begun: dict[Place, float] = {}

    def __enter__(self) -> Self:
        """Start showing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bars and tell what the batch came to, unless a bug ended it."""
        self._progress.stop()
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            self._messages.event("interrupted", left=self._images - self._settled)
        if interrupted or kind is None:
            self._tell_summary()

    @property
    def _settled(self) -> int:
        summary = self.summary
        return len(summary.done) + len(summary.skipped) + len(summary.failed)

    def show(self, event: events.Event) -> None:
        """Show one event of the batch."""
        from mambair_cli.batches import events

        name, values = describe(event)
        self._messages.event(name, **values)
        match event:
            case events.FileStarted():
                self._started(event)
            case events.TileDone():
                self._tile_done(event)
            case events.FileNoted():
                is_finding = event.steps is not None
                tell = self._messages.notice if is_finding else self._messages.detail
                tell(f"{event.job.source}: {event.text}")
            case events.DeviceLost():
                self._device_lost(event)
            case events.FileDone():
                self._finish_file(event)
                self._done(event)
            case events.FileSkipped():
                self._finish_file(event)
                text = f"{event.job.source}: skipped, {event.reason}"
                self._messages.notice(text, "dim")
            case events.FileFailed():
                self._finish_file(event)
                # The failure of a single image is that of the command, which says it by itself.
                if self._images > 1:
                    self._messages.notice(f"failed: {event.error.message}", "red")

    def _started(self, event: events.FileStarted) -> None:
        source = event.job.source
        name = f"{event.device}: {source.name}" if self._shared else source.name
        if self._shared:
            self._messages.detail(f"{source}: on {event.device}")
        self._device_of = {path: on for path, on in self._device_of.items() if on != event.device}
        self._device_of[source] = event.device
        self._progress.reset(
            self._bars[event.device], total=None, description=name, count="", visible=True
        )

    def _tile_done(self, event: events.TileDone) -> None:
        source = event.job.source
        # One tile is done or not: a bar that only moves says more than one that stays at 0 of 1.
        total = event.total if event.total > 1 else None
        self._progress.update(
            self._bars[self._device_of[source]],
            completed=event.done,
            total=total,
            count="" if total is None else f"{event.done}/{total} tiles",
        )
        now = self._weight(source) * event.done / event.total
        self._progress.advance(self._batch, now - self._begun.get(source, 0))
        self._begun[source] = now

    def _device_lost(self, event: events.DeviceLost) -> None:
        self._progress.update(self._bars[event.device], visible=False)
        self._messages.warning(f"{event.device} failed and is not used any more: {event.reason}")

    def _done(self, event: events.FileDone) -> None:
        from mambair_cli.batches.notices import Notice, notices_of

        source, times, report = event.job.source, event.timings, event.report
        self._notices += notices_of(report, source)
        if event.job.changed:
            self._notices.append(Notice("changed", event.job.changed, source))
        size = f"{event.width}x{event.height}"
        if event.images > 1:
            size = f"{event.images} images of {size}"
        self._messages.notice(f"{source}: {size} in {duration(times.total)}")
        self._messages.detail(
            f"{source}: reading {duration(times.read)}, network {duration(times.network)}, "
            f"writing {duration(times.write)}"
        )
        for verb in ("kept", "changed", "dropped"):
            if phrases := getattr(report, verb):
                self._messages.detail(f"{source}: {verb}: {', '.join(phrases)}")
        if self._messages.lists_results:
            self._print_path(str(event.job.target))

    def _finish_file(self, event: events.Outcome) -> None:
        from mambair_cli.batches.events import FileDone

        self.summary.add(event)
        source = event.job.source
        # By now the device may show the next image.
        if (device := self._device_of.pop(source, None)) is not None:
            self._progress.update(self._bars[device], visible=False)
        weight, begun = self._weight(source), self._begun.pop(source, 0)
        self._progress.update(self._batch, count=f"{self._settled}/{self._images} images")
        if isinstance(event, FileDone):
            self._progress.advance(self._batch, weight - begun)
            return
        # What took no work must not make the rest look quick.
        total = self._progress.tasks[0].total or 0
        self._progress.update(self._batch, total=total - weight)
        self._progress.advance(self._batch, -begun)

    def _weight(self, source: Place) -> int:
        return max(1, self._pixels.get(source, 1))

    def _tell_summary(self) -> None:
        tell_notices(self._notices, self._messages)
        seconds = time.perf_counter() - self._began
        alone = sum(done.left_alone for done in self.summary.done)
        counts = {
            "restored": len(self.summary.done) - alone,
            "left_alone": alone,
            "skipped": len(self.summary.skipped),
            "failed": len(self.summary.failed),
            "left": self._images - self._settled,
        }
        if self._images > 1:
            listed = ", ".join(
                f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count
            )
            self._messages.notice(f"{listed} in {duration(seconds)}")
        self._messages.event("summary", **counts, seconds=round(seconds, 3))

    def _print_path(self, path: str) -> None:
        # Standard output and the bars may be the same terminal, where the one would cut the other.
        shared = self._messages.animated and sys.stdout.isatty()
        if shared:
            self._progress.stop()
        print_data(path)
        if shared:
            # The old one would begin by clearing as many lines as it had, now above the path.
            self._progress.live = Live(
                console=self._messages.console,
                transient=True,
                redirect_stdout=False,
                get_renderable=self._progress.get_renderable,
            )
            self._progress.start()


def tell_notices(notices: Iterable[Notice], messages: Messages) -> None:
    """Tell what would surprise, a line for each kind."""
    from mambair_cli.batches.notices import CHANGED, DROPPED, by_kind
    from mambair_cli.batches.sources.left_out import lines

    notices = list(notices)
    for line in lines(notices):
        messages.notice(line)
    for told in by_kind(notices):
        if told.first.grave:
            messages.warning(told.sentence)
        elif told.first.kind in (CHANGED, DROPPED):
            messages.notice(told.sentence)
        messages.event(
            "notice",
            kind=told.first.kind,
            text=told.first.text,
            warning=told.first.grave,
            count=len(told.files),
            examples=[str(place) for place in told.examples],
        )


def describe(event: events.Event) -> tuple[str, dict[str, object]]:
    """Give the name of an event and its values, as `docs/events.md` describes them."""
    from mambair_cli.batches import events

    values: dict[str, object] = {"source": str(event.job.source)}
    match event:
        case events.FileStarted():
            name = "file_started"
            values |= _target(event.job)
            values |= {"index": event.index, "total": event.total, "device": event.device}
        case events.TileDone():
            name = "tile"
            values |= {"done": event.done, "total": event.total}
        case events.FileNoted():
            name = "file_noted"
            values |= {"text": event.text, "steps": describe_steps(event.steps)}
        case events.DeviceLost():
            name = "device_lost"
            values |= {"device": event.device, "reason": event.reason}
        case events.FileDone():
            name = "file_done"
            values |= _target(event.job) | _done(event)
        case events.FileSkipped():
            name = "file_skipped"
            values |= _target(event.job) | {"reason": event.reason}
        case events.FileFailed():
            name = "file_failed"
            values |= _target(event.job) | _failure(event.error)
    return name, values


def describe_steps(steps: Sequence[ToldStep] | None) -> list[dict[str, object]] | None:
    """Give what is done about an image, as `docs/events.md` describes it."""
    return None if steps is None else [step._asdict() for step in steps]


def _target(job: Job) -> dict[str, object]:
    return {"target": str(job.target)}


def _failure(error: MambairError) -> dict[str, object]:
    return {"kind": type(error).__name__, "error": error.message, "hint": error.hint}


def _done(event: events.FileDone) -> dict[str, object]:
    times = event.timings
    return {
        "width": event.width,
        "height": event.height,
        "images": event.images,
        "left_alone": event.left_alone,
        "bytes": event.bytes,
        "seconds": round(times.total, 3),
        "timings": {
            "read": round(times.read, 3),
            "network": round(times.network, 3),
            "write": round(times.write, 3),
        },
        "kept": list(event.report.kept),
        "changed": list(event.report.changed),
        "dropped": list(event.report.dropped),
    }
