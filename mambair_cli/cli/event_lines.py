"""The events of a batch as `--json` prints them; `docs/events.md` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambair_cli.errors import MambairError

if TYPE_CHECKING:
    from mambair_cli.batches import batch
    from mambair_cli.batches.jobs import Job


def describe(event: batch.Event) -> tuple[str, dict[str, object]]:
    """Give the name of an event and its values."""
    from mambair_cli.batches import batch

    values: dict[str, object] = {"source": str(event.job.source)}
    match event:
        case batch.FileStarted():
            name = "file_started"
            values |= _target(event.job)
            values |= {"index": event.index, "total": event.total, "device": event.device}
        case batch.TileDone():
            name = "tile"
            values |= {"done": event.done, "total": event.total}
        case batch.FileNoted():
            name = "file_noted"
            values |= {"text": event.text}
        case batch.DeviceLost():
            name = "device_lost"
            values |= {"device": event.device, "reason": event.reason}
        case batch.FileDone():
            name = "file_done"
            values |= _target(event.job) | _done(event)
        case batch.FileSkipped():
            name = "file_skipped"
            values |= _target(event.job) | {"reason": event.reason}
        case batch.FileFailed():
            name = "file_failed"
            values |= _target(event.job) | _failure(event.error)
    return name, values


def _target(job: Job) -> dict[str, object]:
    return {"target": str(job.target)}


def _failure(error: MambairError) -> dict[str, object]:
    return {"kind": type(error).__name__, "error": error.message, "hint": error.hint}


def _done(event: batch.FileDone) -> dict[str, object]:
    times = event.timings
    return {
        "width": event.width,
        "height": event.height,
        "images": event.images,
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
