"""The engine that restores batches on the devices of this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mambair_cli.batches.batch import foresee, run_batch
from mambair_cli.batches.beside import Beside
from mambair_cli.batches.engines import Batch
from mambair_cli.batches.events import Event, FileFailed, Summary
from mambair_cli.batches.forecasts import Forecast
from mambair_cli.batches.jobs import on_this_machine
from mambair_cli.batches.manifest import Recipe, RecipeOf
from mambair_cli.batches.models import ModelCache
from mambair_cli.batches.treatment.choice import measures, treatment_of
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.sample import samples_of
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.batches.work import Restore
from mambair_cli.checkpoints.obtain import find
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import InputFile
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.compute import Compute, describe_device
from mambair_cli.restoration.device.hardware import usable_processors
from mambair_cli.restoration.device.precision import Precision
from mambair_cli.restoration.plan import UNKNOWN_NETWORK, RestoreOptions
from mambair_cli.restoration.sizing import Sizing

# Files that are read, and that are written, at the same time for each GPU.
FILES_PER_DEVICE = 8


class LocalEngine:
    """Restores batches on one device or several; see `engines.Engine`.

    Args:
        computes: Where and how networks run; the first chooses models and makes plans.
        models_for: Loads the models of a request for one of these.
        prepare: Has the kernels of one of these compiled.
        on_detail: Told of devices that are not needed.
    """

    unknown_effort = "time and memory are not known before the weights are here"

    def __init__(
        self,
        computes: Sequence[Compute],
        models_for: Callable[[Request, Compute], ModelCache],
        prepare: Callable[[Compute], None],
        on_detail: Callable[[str], None],
    ) -> None:
        self._computes = computes
        self._models_for = models_for
        self._prepare = prepare
        self._on_detail = on_detail
        self._models: dict[tuple[Compute, Request], ModelCache] = {}

    @property
    def description(self) -> str:
        """Devices, scan backend and precision."""
        devices = ", ".join(describe_device(compute.device) for compute in self._computes)
        return f"device: {devices}, scan: {self._first.scan.name}, precision: {self.precision}"

    @property
    def device_type(self) -> str:
        """That of all devices."""
        return self._first.device.type

    @property
    def precision(self) -> Precision:
        """That of all devices."""
        return self._first.precision

    def names(self, jobs: int) -> list[str]:
        """Name the devices that are needed, in their order."""
        return [str(compute.device) for compute in self._computes[:jobs]]

    def load(self, request: Request) -> ModelSpec | None:
        """Load the weights on the first device."""
        single = self._models_on(self._first, request).single
        return None if single is None else single.spec

    def restorer(self, request: Request, options: RestoreOptions, sizing: Sizing) -> Restore:
        """Load what restores images that are handed over one by one, on the first device."""
        models = self._models_on(self._first, request)
        self._prepare(self._first)
        return restorer_with(models, options, sizing)

    def foresee(self, batch: Batch) -> list[Forecast]:
        """Read the headers of the files."""
        return foresee(batch.jobs, batch.files, keep_open=True)

    def rehearse(self, batch: Batch) -> list[Forecast]:
        """Load the models on the first device, and look at what earlier runs recorded."""
        self._needed(batch)
        models, treatments = None, dict[Path, Treatment | ImageError]()
        requests = {batch.request}
        if batch.request.by_file:
            treatments = _treatments(batch)
            requests = {step.request for each in treatments.values() for step in _steps(each)}
        if self._at_hand(requests):
            models = self._models_on(self._first, batch.request)
        if not batch.request.by_file:
            treatments = _treatments(batch, None if models is None else models.before)
        recipe = None if batch.request.by_file or models is None else _recipe_of(batch, models)
        forecasts = foresee(batch.jobs, batch.files, resume=batch.resume, recipe=recipe)
        return [_with_findings(each, treatments, models) for each in forecasts]

    def run(
        self,
        batch: Batch,
        forecasts: Sequence[Forecast],
        on_event: Callable[[Event], None],
    ) -> Summary:
        """Restore the files, each device those that it takes when it is free."""
        needed = self._needed(batch)
        models = {compute: self._models_on(compute, batch.request) for compute in needed}
        for compute in needed:
            self._prepare(compute)
        return run_batch(
            batch.jobs,
            {
                str(compute.device): restorer_with(cache, batch.options, batch.files.sizing)
                for compute, cache in models.items()
            },
            on_event,
            files=batch.files,
            resume=batch.resume,
            recipe=_recipe_of(batch, models[self._first]) if batch.is_recorded else None,
            shard=batch.shard,
            io_threads=io_threads([compute.device for compute in needed]),
            forecasts=forecasts,
            beside=self._beside(batch, models[self._first]),
        )

    def _beside(self, batch: Batch, models: ModelCache) -> Beside:
        network = models.single.network.config if models.single else UNKNOWN_NETWORK
        memory = batch.options.max_memory
        return Beside.planned(len(batch.jobs), self._first, network, memory)

    @property
    def _first(self) -> Compute:
        return self._computes[0]

    def _needed(self, batch: Batch) -> Sequence[Compute]:
        needed, images = self._computes[: len(batch.jobs)], len(batch.jobs)
        if len(needed) < len(self._computes):
            used = ", ".join(self.names(images))
            self._on_detail(f"{images} image{'' if images == 1 else 's'}: only {used} works")
        return needed

    def _at_hand(self, requests: Collection[Request]) -> bool:
        """Tell whether nothing has to be fetched; have kernels compiled then."""
        for request in requests:
            named = request.weights is not None
            if not named and not find(request.choose(self.device_type).entry.id):
                return False
        if requests:
            self._prepare(self._first)
        return True

    def _models_on(self, compute: Compute, request: Request) -> ModelCache:
        key = compute, request
        if key not in self._models:
            self._models[key] = self._models_for(request, compute)
        return self._models[key]


def _treatments(batch: Batch, before: Request | None = None) -> dict[Path, Treatment | ImageError]:
    """Look at the images of a request that measures something; some turn out to be hopeless."""
    if not measures(batch.request, before):
        return {}
    assert on_this_machine(batch.jobs)
    found: dict[Path, Treatment | ImageError] = {}
    for job in batch.jobs:
        try:
            with InputFile(job.source, max_pixels=batch.files.max_pixels) as file:
                samples = samples_of(file)
                found[job.source] = treatment_of(batch.request, *samples, before=before)
        except ImageError as error:
            found[job.source] = error
    return found


def _steps(treatment: Treatment | ImageError) -> tuple[Step, ...]:
    return treatment.steps if isinstance(treatment, Treatment) else ()


def _with_findings(
    forecast: Forecast,
    treatments: Mapping[Path, Treatment | ImageError],
    models: ModelCache | None,
) -> Forecast:
    job = forecast.job
    if forecast.outcome is not None:
        return forecast
    treatment = treatments.get(job.source) if isinstance(job.source, Path) else None
    if isinstance(treatment, ImageError):
        return Forecast(job, outcome=FileFailed(job, treatment))
    if treatment is not None:
        forecast = replace(forecast, found=treatment.finding)
    if models is None:
        return forecast
    if treatment is None:
        assert models.single is not None
        return replace(forecast, models=(models.single,))
    return replace(forecast, models=tuple(map(models.suited_to, treatment.steps)))


def _recipe_of(batch: Batch, models: ModelCache) -> RecipeOf:
    of_all: Recipe = batch.recipe
    return lambda source: {**of_all, "weights": models.digest_for(source)}


def io_threads(devices: Sequence[torch.device]) -> int:
    """How many files to read, and how many to write, while networks run.

    On a CPU the network needs all processors itself: threads beside it made a batch slower. A GPU
    makes a result faster than one processor packs it into a PNG.
    """
    if all(device.type == "cpu" for device in devices):
        return 0
    return min(usable_processors(), FILES_PER_DEVICE * len(devices))
