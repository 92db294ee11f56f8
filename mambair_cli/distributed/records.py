"""What is recorded of a batch whose inputs or outputs may be in object stores.

Objects cannot be appended to. Below the address of the results records are kept as segments
`.mambair-manifest-RUN-NUMBER.jsonl`, each written whole and never again, and read together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from uuid import uuid4

from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry, Manifest, Recipe, Shard
from mambair_cli.distributed import urls
from mambair_cli.distributed.urls import address
from mambair_cli.errors import MambairError, OutputError

# Finished files whose record is not kept yet are restored again should this process be killed.
SEGMENT_SECONDS = 5.0
MANIFEST_PREFIX, MANIFEST_SUFFIX = ".mambair-manifest", ".jsonl"


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
        self._manifests: dict[Path, Manifest] = {}

    def refusal(self, job: Job) -> OutputError | None:
        """Why a job must not be done, if its output exists and is not one of ours to resume."""
        ours = self._resume and self.recipe is not None and self.of(job).knows(job.target)
        return None if ours else job.refusal

    def done_before(self, job: Job) -> Entry | None:
        """What an earlier run recorded of an output that may be kept."""
        if not self._resume or self.recipe is None:
            return None
        entry = self.of(job).last_done(job.target)
        present = entry is not None and _may_be_there(job.target, entry)
        return entry if present else None

    def begin(self, job: Job) -> None:
        """Records that a job may be done soon; kept for certain after `flush`.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None and not self.of(job).knows(job.target):
            self.of(job).begin(job.target, Entry("", self.recipe, source=job.source))

    def finish(self, job: Job, entry: Entry) -> None:
        """Records an output that is there.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None:
            self.of(job).finish_as(job.target, replace(entry, source=job.source))

    def fail(self, job: Job, entry: Entry | None, error: MambairError) -> None:
        """Records that an output could not be made.

        Raises:
            OutputError: The record cannot be written.
        """
        if self.recipe is not None:
            told = entry or Entry("", self.recipe)
            self.of(job).fail(job.target, replace(told, source=job.source), error)

    def flush(self, *, older_than: float = 0.0) -> None:
        """Has everything kept that was recorded, or only if it waits for that many seconds.

        Raises:
            OutputError: The records cannot be written.
        """
        for manifest in self._manifests.values():
            if isinstance(manifest, StoreManifest):
                manifest.keep(older_than)

    def of(self, job: Job) -> Manifest:
        """The records that a job belongs to."""
        if job.record not in self._manifests:
            self._manifests[job.record] = manifest_in(job.record, self._shard)
        return self._manifests[job.record]


def manifest_in(directory: Path, shard: Shard | None = None) -> Manifest:
    """Opens the records of a folder or of an address."""
    kind = FolderManifest if address(directory) is None else StoreManifest
    return kind(directory, shard)


@contextmanager
def marked(jobs: Sequence[Job]) -> Iterator[Path | None]:
    """Keeps a file in the folder of the results, by which workers know that it is the same.

    Returns:
        Its path; None where results go into several folders, or to an address.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folders = {job.record for job in jobs}
    folder = folders.pop() if len(folders) == 1 else None
    if folder is None or address(folder):
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


class FolderManifest(Manifest):
    """Records in a folder, of inputs that may have addresses."""

    def _source_to_text(self, source: Path) -> str:
        return str(source) if address(source) else super()._source_to_text(source)

    def _source_from_text(self, text: str) -> Path:
        found = urls.place(text)
        return found if address(found) else super()._source_from_text(text)


class StoreManifest(FolderManifest):
    """Records below an address."""

    def __init__(self, directory: Path, shard: Shard | None = None) -> None:
        found = address(directory)
        assert found is not None
        self._address = found
        super().__init__(directory, shard)
        self._name = f"{self.path.name.removesuffix(MANIFEST_SUFFIX)}-{uuid4().hex[:12]}"
        self._segments = 0
        self._lines: list[bytes] = []
        self._oldest = 0.0

    def keep(self, older_than: float) -> None:
        """Writes what was recorded since the last segment, if it waits for that many seconds.

        Raises:
            OutputError: It cannot be written.
        """
        if not self._lines or monotonic() - self._oldest < older_than:
            return
        segment = self._address / f"{self._name}-{self._segments:06}{MANIFEST_SUFFIX}"
        urls.write(segment, b"".join(self._lines))
        self._segments += 1
        self._lines.clear()

    def _write(self, line: bytes, *, flush: bool) -> None:  # noqa: ARG002 - `keep` does that
        if not self._lines:
            self._oldest = monotonic()
        self._lines.append(line)

    def _contents(self) -> Iterator[bytes]:
        for url in urls.below(self._address, recursive=False):
            if url.name.startswith(MANIFEST_PREFIX) and url.name.endswith(MANIFEST_SUFFIX):
                yield urls.read(url)

    def _source_to_text(self, source: Path) -> str:
        return str(source if address(source) else source.absolute())

    def _source_from_text(self, text: str) -> Path:
        return urls.place(text)


def _may_be_there(target: Path, entry: Entry) -> bool:
    """Whether a worker has to look; of what only this process sees, it looks itself."""
    url = address(target)
    if url is None or not url.stays_in_its_process:
        return True
    return urls.size_of(url) == entry.size
