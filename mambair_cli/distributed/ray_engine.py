"""The engine that restores batches on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from mambair_cli.batches.engines import Batch
from mambair_cli.batches.events import Event, FileFailed, Summary
from mambair_cli.batches.forecasts import Forecast
from mambair_cli.checkpoints.load import LoadedModel
from mambair_cli.checkpoints.request import Request
from mambair_cli.distributed.cluster import Workers, number_format
from mambair_cli.distributed.driver import run_on_cluster
from mambair_cli.distributed.messages import Setup, ship
from mambair_cli.distributed.records import Records
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.precision import Precision, PrecisionRequest


class RayEngine:
    """Restores batches on a cluster that this process is connected to; see `engines.Engine`.

    Args:
        workers: From `find_workers`.
        precision: As the user asked for it.
        scan: Name of the scan backend, or `auto` for each worker to choose.
        load: Loads the weights for a request that leaves nothing open.
        on_notice: Told what people should know of the workers.
        on_detail: Told where they run.
    """

    unknown_effort = "time and memory are those of the workers, and not known here"

    def __init__(
        self,
        workers: Workers,
        precision: PrecisionRequest,
        scan: str,
        load: Callable[[Request], LoadedModel],
        on_notice: Callable[[str], None],
        on_detail: Callable[[str], None],
    ) -> None:
        self._workers = workers
        self._asked_precision = precision
        self._scan = scan
        self._load = load
        self._on_notice = on_notice
        self._on_detail = on_detail
        self._models: dict[Request, LoadedModel] = {}

    @property
    def description(self) -> str:
        """How many workers of which size, and the scan backend."""
        return f"ray: {self._workers}, scan: {self._scan}"

    @property
    def device_type(self) -> str:
        """That of all workers."""
        return self._workers.device

    @cached_property
    def precision(self) -> Precision:
        """That of all workers; one of them is asked, if it takes a GPU to know."""
        return number_format(self._workers, self._asked_precision)

    def names(self, jobs: int) -> list[str]:
        """Name the workers that are needed."""
        return self._workers.names(jobs)

    def load(self, request: Request) -> ModelSpec | None:
        """Load the weights here, those for all JPEG qualities where files decide, to check them."""
        specs = [self._loaded(each).spec for each in request.every_case()]
        return None if request.by_file else specs[0]

    def foresee(self, batch: Batch) -> list[Forecast]:
        """Tell what is known without a look into files, which may be in stores."""
        return [
            Forecast(job)
            if job.refusal is None or batch.resume
            else Forecast(job, outcome=FileFailed(job, job.refusal))
            for job in batch.jobs
        ]

    def rehearse(self, batch: Batch) -> list[Forecast]:
        """Tell what `foresee` tells; no model is loaded here."""
        return self.foresee(batch)

    def run(
        self,
        batch: Batch,
        forecasts: Sequence[Forecast],  # noqa: ARG002 - the workers look for themselves
        on_event: Callable[[Event], None],
    ) -> Summary:
        """Restore the files, each worker those that it takes when it is free."""
        cases = batch.request.every_case()
        if not batch.request.by_file:
            before = Request.before(self._loaded(batch.request).spec)
            cases += [] if before is None else before.every_case()
        models = {
            "" if each.weights else each.choose(self.device_type).entry.id: self._loaded(each)
            for each in cases
        }
        setup = Setup(
            request=batch.request,
            weights={name: ship(model.path, model.sha256) for name, model in models.items()},
            options=batch.options,
            files=batch.files,
            scan=self._scan,
            device=self._workers.device,
            processors=self._workers.processors,
            share=self._workers.share,
        )
        records = Records(
            batch.recipe if batch.is_recorded else None, resume=batch.resume, shard=batch.shard
        )
        return run_on_cluster(
            batch.jobs, setup, self._workers, records, on_event, self._on_notice, self._on_detail
        )

    def _loaded(self, request: Request) -> LoadedModel:
        if request not in self._models:
            self._models[request] = self._load(request)
        return self._models[request]
