"""Workers that are lost: how that is passed on, and what is said of it."""

from __future__ import annotations

from mambair_cli.batches.jobs import Job
from mambair_cli.errors import BackendError

LOGS = "the logs of Ray tell more: see /tmp/ray/session_latest/logs on its nodes"


class WorkerLost(Exception):  # noqa: N818 - no error: its file goes back to the queue
    """A worker is gone; `blamed` tells whether its file was found to be the reason."""

    def __init__(self, reason: str, *, blamed: bool) -> None:
        super().__init__(reason)
        self.blamed = blamed


def reason_of(error: Exception) -> str:
    """Take what Ray says of a lost worker first; the rest is for its developers."""
    return str(error).partition("\n")[0].rstrip(".")


def fatal(job: Job, losses: int, reason: str) -> BackendError:
    """Make the error of a file at which so many workers were lost that no other is given it."""
    return BackendError(
        f"{job.source} was not restored: {losses} workers were lost while they worked on it: "
        f"{reason}",
        "too little memory does that: try --tile 256 or --max-memory; " + LOGS,
    )
