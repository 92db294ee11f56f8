"""Measures a network on a benchmark set."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mambair_cli.errors import UsageError
from mambair_cli.evaluation import protocol
from mambair_cli.evaluation.datasets import DATASETS, Dataset, Example, digest_of
from mambair_cli.evaluation.perceptual import Metric
from mambair_cli.evaluation.protocol import Inference, Scores, Trial
from mambair_cli.evaluation.speed import peak_bytes, reset_peak
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.restorer import RestoreOptions


@dataclass(frozen=True)
class ImageResult:
    """One image of a set.

    Attributes:
        name: Of the image.
        width: Of the reference, in pixels.
        height: Of the reference.
        restored: Scores of the network's result.
        unrestored: Scores of the input itself, at a scale above 1 enlarged bicubically.
        seconds: That the network took.
        further: Name to value of further metrics of the result.
    """

    name: str
    width: int
    height: int
    restored: Scores
    unrestored: Scores
    seconds: float
    further: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SetResult:
    """A whole set.

    Attributes:
        dataset: Its name.
        complete: Whether it had all its images.
        sha256: Over the names and contents of its files.
        inputs: `given` if they came with the set, `made` if they were made here.
        inference: How large images were cut.
        images: Each of them.
        peak_bytes: Most memory: of the GPU since the set was begun, or of the process so far.
    """

    dataset: str
    complete: bool
    sha256: str
    inputs: str
    inference: Inference
    images: tuple[ImageResult, ...]
    peak_bytes: int

    @property
    def restored(self) -> Scores:
        """Mean scores."""
        return _mean([image.restored for image in self.images])

    @property
    def unrestored(self) -> Scores:
        """Mean scores of the inputs."""
        return _mean([image.unrestored for image in self.images])

    @property
    def further(self) -> dict[str, float]:
        """Means of further metrics."""
        return {
            name: statistics.fmean(image.further[name] for image in self.images)
            for name in self.images[0].further
        }

    @property
    def seconds(self) -> float:
        """That the network took for all images."""
        return sum(image.seconds for image in self.images)

    @property
    def megapixels_per_second(self) -> float:
        """Pixels of results, in millions a second."""
        return sum(image.width * image.height for image in self.images) / self.seconds / 1e6


@dataclass(frozen=True)
class Pictures:
    """What one image looks like, `(h w c)` uint8 each.

    Attributes:
        low: The input, at its own size.
        restored: The network's result.
        truth: The reference.
    """

    low: NDArray[np.uint8]
    restored: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def require_task(dataset: Dataset, spec: ModelSpec) -> None:
    """Refuses a set that does not measure what a model does.

    Raises:
        UsageError: It measures another task; the hint names the sets for this one.
    """
    if spec.task not in dataset.tasks:
        suited = ", ".join(known.name for known in DATASETS if spec.task in known.tasks)
        raise UsageError(
            f"{spec.id} is for {spec.task}, {dataset.name} measures {' and '.join(dataset.tasks)}",
            f"choose one of: {suited}",
        )
    if spec.task in ("denoise", "dejpeg") and spec.sigma is None and spec.quality is None:
        raise UsageError(
            f"{spec.id} does not say which level it was trained for",
            "write it into the file: mambair models convert",
        )


def measure(
    network: nn.Module,
    spec: ModelSpec,
    dataset: Dataset,
    examples: Sequence[Example],
    options: RestoreOptions,
    inference: Inference,
    on_image: Callable[[ImageResult, Pictures], None] | None = None,
    further: Sequence[Metric] = (),
) -> SetResult:
    """Restores and scores every image of a set.

    Args:
        network: On its device, evaluation mode.
        spec: Of the network.
        dataset: The set.
        examples: Its images, from `datasets.examples_in`.
        options: Self-ensemble, precision; the tile matters for `tiled` only.
        inference: How large images are cut.
        on_image: Told of each image when it is done.
        further: Metrics beside PSNR and SSIM.

    Raises:
        UsageError: The set does not fit the model.
        ImageError: An image cannot be read, or is not as large as its partner says.
    """
    require_task(dataset, spec)
    device = next(network.parameters()).device
    reset_peak(device)
    images, made = [], False
    for example in examples:
        trial = protocol.prepare(example, spec, dataset)
        made |= trial.made
        result, pictures = _measure_image(
            network, spec, example.name, trial, options, inference, further
        )
        images.append(result)
        if on_image is not None:
            on_image(result, pictures)
    return SetResult(
        dataset.name,
        len(examples) == dataset.images,
        digest_of(examples),
        "made" if made else "given",
        inference,
        tuple(images),
        peak_bytes(device),
    )


def _measure_image(
    network: nn.Module,
    spec: ModelSpec,
    name: str,
    trial: Trial,
    options: RestoreOptions,
    inference: Inference,
    further: Sequence[Metric],
) -> tuple[ImageResult, Pictures]:
    start = time.perf_counter()
    # What comes back is in main memory: on a GPU, too, the work is done by then.
    restored = protocol.restore(network, trial, spec, options, inference)
    seconds = time.perf_counter() - start
    height, width = trial.truth.shape[:2]
    result = ImageResult(
        name,
        width,
        height,
        protocol.score(restored, trial.truth, spec),
        protocol.score(protocol.unrestored(trial, spec), trial.truth, spec),
        seconds,
        {metric.name: metric.measure(restored, trial.truth) for metric in further},
    )
    pictures = Pictures(protocol.quantised(trial.low), protocol.quantised(restored), trial.truth)
    return result, pictures


def _mean(scores: Sequence[Scores]) -> Scores:
    return Scores(
        statistics.fmean(score.psnr for score in scores),
        statistics.fmean(score.ssim for score in scores),
    )
