"""What the driver records of a batch: it alone writes records, for all workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from mambair_cli.batches import stores
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry, Manifest, Recipe, Shard
from mambair_cli.batches.urls import Place, Url
from mambair_cli.errors import MambairError, OutputError

# Finished files whose record is not kept yet are restored again should this process be killed.
SEGMENT_SECONDS = 5.0


class Records:
    """Records of all outputs of a run.

    Args:
        recipe: What the outputs depend on beside their input; None: no record is kept.
        resume: Whether what earlier runs finished is kept.
        shard: The part of a shared batch that this process does, I of N.
    """

    def __init__(
        self, recipe: Recipe | None, *, resume: bool = False, shard: Shard | None = None
    ) -> None:
        self.recipe = recipe
        self._resume = resume
        self._shard = shard
        self._manifests: dict[Place, Manifest] = {}

    def refusal(self, job: Job) -> OutputError | None:
        """Return why a job must not be done: its output exists, and is none of ours to resume."""
        return None if self.replaces(job) else job.refusal

    def replaces(self, job: Job) -> bool:
        """Whether what is at the target may be replaced: the user wants it, or it is ours."""
        known = self._resume and self.recipe is not None and self.of(job).knows(job.target)
        return known or job.replaces

    def done_before(self, job: Job) -> Entry | None:
        """Return what an earlier run recorded of an output that may be kept."""
        if not self._resume or self.recipe is None:
            return None
        entry = self.of(job).last_done(job.target)
        present = entry is not None and _may_be_there(job.target, entry)
        return entry if present else None

    def begin(self, job: Job) -> None:
        """Record that a job may be done soon; kept for certain after `flush`.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None and not self.of(job).knows(job.target):
            self.of(job).begin(job.target, Entry("", self.recipe, source=job.source))

    def finish(self, job: Job, entry: Entry) -> None:
        """Record an output that is there.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None:
            self.of(job).finish_as(job.target, replace(entry, source=job.source))

    def fail(self, job: Job, entry: Entry | None, error: MambairError) -> None:
        """Record that an output could not be made.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None:
            told = entry or Entry("", self.recipe)
            self.of(job).fail(job.target, replace(told, source=job.source), error)

    def flush(self, *, older_than: float = 0.0) -> None:
        """Write the records that wait, in a store only if one waits for that many seconds.

        Raises:
            OutputError: The records cannot be written.
        """
        for manifest in self._manifests.values():
            manifest.keep(older_than=older_than)

    def of(self, job: Job) -> Manifest:
        """Return the records that a job belongs to."""
        if job.record not in self._manifests:
            self._manifests[job.record] = Manifest(job.record, self._shard)
        return self._manifests[job.record]


@contextmanager
def marked(jobs: Sequence[Job]) -> Iterator[Path | None]:
    """Keep a file in the folder of the results, by which workers know that it is the same.

    Returns:
        Its path; None where results go into several folders, or to an address.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folders = {job.record for job in jobs}
    folder = folders.pop() if len(folders) == 1 else None
    if not isinstance(folder, Path):
        yield None
        return
    marker = folder.absolute() / f".mambair-run-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}", "choose another directory with -o"
        ) from error
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


def _may_be_there(target: Place, entry: Entry) -> bool:
    """Tell whether a worker has to look; this process looks at what only it sees."""
    if isinstance(target, Url) and target.stays_in_its_process:
        return stores.size_of(target) == entry.size
    return True
