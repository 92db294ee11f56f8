"""Files on the node of a worker: input copied there, output brought to where it belongs."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mambair_cli.batches import stores
from mambair_cli.batches.events import FileDone, FileFailed
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry
from mambair_cli.batches.urls import Place, Url
from mambair_cli.disk import sha256_of
from mambair_cli.distributed.messages import FileResult, FileTask
from mambair_cli.errors import ImageError, MambairError
from mambair_cli.imaging.files import InputFile


class StagedFile:
    """One file of the batch on the node of a worker.

    Args:
        task: What to do.
        scratch: An empty folder, for what is copied to this node; not used where nothing is.
        digest_for: Returns the sha256 of the weights that a file is restored with.
    """

    def __init__(
        self, task: FileTask, scratch: Path, digest_for: Callable[[InputFile], str]
    ) -> None:
        self._task = task
        self._digest_for = digest_for
        source = _local(task.source, scratch / "in")
        target = _local(task.target, scratch / "out")
        self.job = Job(source, target, target.parent, replaces=task.replaces)
        self.entry = Entry("", task.recipe or {})

    def fetch(self) -> None:
        """Make sure that the input is on this node.

        Raises:
            ImageError: It cannot be had.
        """
        task, here = self._task, self.job.source
        if isinstance(task.source, Url):
            here.parent.mkdir()
            if task.content is None:
                stores.fetch(task.source, here)
            else:
                here.write_bytes(task.content)
        elif not here.exists():
            raise ImageError(
                f"{here} is not there on {platform.node()}",
                "keep files on a file system that all nodes share, or in a store such as s3://",
            )
        if task.recipe is not None:
            with InputFile(here) as file:
                recipe = {**task.recipe, "weights": self._digest_for(file)}
                self.entry = replace(self.entry, input=file.sha256, recipe=recipe)

    def is_done(self) -> bool:
        """Tell whether an earlier run made the output from the same input, and it is whole."""
        done, target = self._task.done, self._task.target
        if done is None or (done.input, done.recipe) != (self.entry.input, self.entry.recipe):
            return False
        if isinstance(target, Url):
            # It was written whole or not at all; to read it again would cost more than the input.
            return target.stays_in_its_process or stores.size_of(target) == done.size
        return (
            target.is_file()
            and target.stat().st_size == done.size
            and sha256_of(target) == done.output
        )

    def deliver(self, outcome: FileDone) -> FileResult:
        """Bring the output to where it belongs.

        Raises:
            OutputError: It cannot be written there.
        """
        here, target = self.job.target, self._task.target
        entry = self.entry
        if self._task.recipe is not None:
            entry = replace(entry, output=sha256_of(here), size=here.stat().st_size)
        if not isinstance(target, Url):
            return FileResult(outcome, entry)
        if target.stays_in_its_process:
            return FileResult(outcome, entry, here.read_bytes())
        stores.upload(here, target)
        return FileResult(outcome, entry)

    def failed(self, error: MambairError) -> FileResult:
        """Say what failed, with the names that the user gave instead of the copies on this node."""
        text = error.message
        for here, name in zip((self.job.source, self.job.target), self._task.names, strict=True):
            text = text.replace(str(here), name)
        return FileResult(FileFailed(self.job, type(error)(text, error.hint)), self.entry)


def _local(place: Place, scratch: Path) -> Path:
    return scratch / place.name if isinstance(place, Url) else place
