"""Weights in their networks, on a device, and the ones that a run has loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from mambair_cli.batches.treatment.choice import treatment_of
from mambair_cli.batches.treatment.sample import Sample, samples_of
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.checkpoints.load import LoadedModel, load_checkpoint
from mambair_cli.checkpoints.request import Request
from mambair_cli.checkpoints.shards import digest_of
from mambair_cli.imaging.files import InputFile
from mambair_cli.networks import RestorationNetwork
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.device.precision import Precision
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.phases import InPhases
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

# Height and width of what a network restores to have its kernels compiled.
SMALL_IMAGE = (48, 64)
# Weights that were trained on noise as fine as sensors make it.
KNOW_FINE_NOISE = ("mambair-tiny-denoise-real",)


@dataclass(frozen=True)
class Model:
    """Weights in their network, on a device, ready to restore.

    Attributes:
        network: The module: `(b c h w)` float32 in [0, 1] to `(b c h*s w*s)`, not clamped, any
            height and width; evaluation mode, without gradients.
        spec: Its task, scale `s` and channels `c`.
        device: Where it runs.
        precision: Number format of its matrix products: `fp32`, `bf16` or `fp16`.
        scan: Name of its selective-scan backend.
        path: The weights file.
        sha256: Digest of that file.
    """

    network: RestorationNetwork
    spec: ModelSpec
    device: torch.device
    precision: Precision
    scan: str
    path: Path
    sha256: str

    @classmethod
    def placed(cls, loaded: LoadedModel, compute: Compute) -> Model:
        """Put loaded weights on their device."""
        network = loaded.network.to(compute.device)
        scan = set_scan_backend(network, compute.scan)
        return cls(
            network,
            loaded.spec,
            compute.device,
            compute.precision,
            scan,
            loaded.path,
            loaded.sha256,
        )

    @cached_property
    def in_phases(self) -> InPhases:
        """The network as it removes coarse noise; of scale 1, for three colours."""
        return InPhases(self.network)

    def compile_kernels(self) -> float:
        """Restore a small image, large enough to be scanned in chunks; return the seconds taken.

        A GPU's kernels are compiled for a network's numbers of channels and its precision.

        Raises:
            BackendError: The kernels cannot be compiled or run.
        """
        start = time.perf_counter()
        black = torch.zeros(1, self.spec.channels, *SMALL_IMAGE, dtype=torch.float32, device="cpu")
        options = RestoreOptions(tile=0, precision=self.precision)
        restore_tensor(self.network, black, self.spec, options)
        return time.perf_counter() - start


def network_for(model: Model, sample: Sample) -> nn.Module:
    """Choose what restores an image: a network, or the network in phases against coarse noise.

    Args:
        model: Whose weights were chosen.
        sample: Of the image.
    """
    if model.spec.id in KNOW_FINE_NOISE and sample.has_coarse_noise:
        return model.in_phases
    return model.network


class WeightsFile(Protocol):
    """Weights that can be had; equal ones are loaded once. `sha256` is that of the file."""

    @property
    def sha256(self) -> str: ...  # noqa: D102
    def load(self) -> LoadedModel: ...  # noqa: D102


@dataclass(frozen=True)
class LocalWeights:
    """A weights file of this machine."""

    path: Path

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return digest_of(self.path)

    def load(self) -> LoadedModel:
        """Load it into its network; raises as `load_checkpoint`."""
        return load_checkpoint(self.path)


class ModelCache:
    """The models of one run on one device, each found and loaded once.

    Args:
        request: What is to be done.
        compute: Where and how the networks run.
        find: Finds the weights for a request that leaves nothing open.
        on_load: Told of every model that was loaded, for which request, and what reading it noted.

    Attributes:
        single: The model for all images; None where each decides about its weights.
        before: What is done first to images that need it, as that model wants.

    Raises:
        MambairError: The weights for all images cannot be had, or cannot do what was asked for.
    """

    def __init__(
        self,
        request: Request,
        compute: Compute,
        find: Callable[[Request], WeightsFile],
        on_load: Callable[[Model, Request, tuple[str, ...]], None] = lambda *_: None,
    ) -> None:
        self._request = request
        self._compute = compute
        self._find = find
        self._on_load = on_load
        self._loaded: dict[WeightsFile, Model] = {}
        self._digests: dict[WeightsFile, str] = {}
        self._loading = threading.RLock()
        self.single = None if request.by_file else self._load(request)
        self.before = None if self.single is None else Request.before(self.single.spec)

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._compute.device

    def treatment_of(self, *samples: Sample) -> Treatment:
        """Decide what is done about an image, or about all frames of an animation.

        Raises:
            ImageError: What has to be known can neither be read nor measured.
        """
        return treatment_of(self._request, *samples, before=self.before)

    def suited_to(self, step: Step) -> Model:
        """Return the model for a step: that for all images, or that for what the image has.

        Raises:
            CheckpointError: The weights cannot be had.
        """
        return self._of_all(step.request) or self._load(step.request)

    def _of_all(self, request: Request) -> Model | None:
        return self.single if request.task == self._request.task else None

    def digest_for(self, file: InputFile) -> str:
        """Return the sha256 of the weights that restore the image in a file; load none.

        Of an image that is left alone it is empty; several are joined.

        Raises:
            ImageError: What has to be known can neither be read nor measured.
            CheckpointError: The weights cannot be had.
        """
        if self.single is not None and self.before is None:
            return self.single.sha256
        treatment = self.treatment_of(*samples_of(file))
        return "+".join(self._digest(step.request) for step in treatment.steps)

    def _digest(self, request: Request) -> str:
        if (model := self._of_all(request)) is not None:
            return model.sha256
        # Files are read by several threads.
        with self._loading:
            weights = self._find(request)
            if weights not in self._digests:
                self._digests[weights] = weights.sha256
            return self._digests[weights]

    def _load(self, request: Request) -> Model:
        with self._loading:
            weights = self._find(request)
            if weights not in self._loaded:
                loaded = weights.load()
                request.check(loaded.spec)
                model = Model.placed(loaded, self._compute)
                self._on_load(model, request, loaded.notes)
                self._loaded[weights] = model
            return self._loaded[weights]
