"""The description of a batch, and what restores one: this machine and a cluster alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Protocol

from mambair_cli.batches.events import Event, Summary
from mambair_cli.batches.forecasts import Forecast
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Recipe, Shard
from mambair_cli.batches.stages import FileOptions
from mambair_cli.checkpoints.request import Request
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.precision import Precision
from mambair_cli.restoration.plan import RestoreOptions


@dataclass(frozen=True)
class Batch:
    """Files that are to be restored, and how.

    Attributes:
        request: What is to be done to them.
        jobs: Which files, in the order in which they are restored.
        options: How their images are restored.
        files: How they are read and written.
        resume: Skip what an earlier run with the same recipe has finished.
        shard: The part of a shared batch that this process does, I of N.
    """

    request: Request
    jobs: Sequence[Job]
    options: RestoreOptions
    files: FileOptions
    resume: bool = False
    shard: Shard | None = None

    @property
    def recipe(self) -> Recipe:
        """What results depend on beside their source and its weights; `--resume` compares it."""
        # How much memory there is decides how a result is made, not what it is.
        options = {name: v for name, v in asdict(self.options).items() if name != "max_memory"}
        return options | {
            "version": version("mambair"),
            "quality_out": self.files.quality,
            "metadata": self.files.metadata,
            "sigma": self.request.sigma,
            "quality": self.request.quality,
            "size": self.files.sizing.suffix if self.files.sizing.is_free else None,
            "accept_damaged": self.files.accept_damaged,
        }

    @property
    def is_recorded(self) -> bool:
        """Whether a record of what is done is kept beside the results."""
        return len(self.jobs) > 1 or self.resume or self.shard is not None


class Engine(Protocol):
    """What restores batches: this machine, or a cluster."""

    @property
    def description(self) -> str:
        """Where and how images are restored, for people."""

    @property
    def device_type(self) -> str:
        """Device that restores, as in `torch.device.type`."""

    @property
    def precision(self) -> Precision:
        """Number format of the networks."""

    @property
    def unknown_effort(self) -> str:
        """Why time and memory are not known where `rehearse` gives no models, for people."""

    def names(self, jobs: int) -> list[str]:
        """Name the devices or workers that share so many jobs."""

    def load(self, request: Request) -> ModelSpec | None:
        """Have the weights of a request, fetched if need be; more than once does no harm.

        Returns:
            What the weights for all images are for; None where each image decides about its own.

        Raises:
            MambairError: They cannot be had, or cannot do what was asked for.
        """

    def foresee(self, batch: Batch) -> list[Forecast]:
        """Tell from the headers of the files what will become of them."""

    def rehearse(self, batch: Batch) -> list[Forecast]:
        """Tell more of what `run` will do; nothing is written, and no weights are fetched.

        Returns:
            What will become of the files, their records looked at too, with the models that would
            restore them here, where these would not have to be fetched.
        """

    def run(
        self, batch: Batch, forecasts: Sequence[Forecast], on_event: Callable[[Event], None]
    ) -> Summary:
        """Restore the files; one that fails never stops the rest.

        Args:
            batch: Which, and how.
            forecasts: What is known of them, from `foresee`.
            on_event: Told of everything, never from two threads at once; of outcomes in the order
                of the jobs.

        Raises:
            MambairError: Nothing could be restored at all.
        """
