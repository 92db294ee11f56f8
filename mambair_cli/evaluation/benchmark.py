"""Measuring a network on a benchmark set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mambair_cli.batches.models import Model
from mambair_cli.errors import UsageError
from mambair_cli.evaluation import protocol
from mambair_cli.evaluation.datasets import DATASETS, Dataset
from mambair_cli.evaluation.examples import Example, digest_of
from mambair_cli.evaluation.perceptual import Metric
from mambair_cli.evaluation.protocol import Inference, Trial
from mambair_cli.evaluation.results import ImageResult, Run, SetResult
from mambair_cli.evaluation.speed import peak_bytes, reset_peak
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.compute import describe_device
from mambair_cli.restoration.device.hardware import processor
from mambair_cli.restoration.restorer import RestoreOptions


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


def run_benchmark(
    model: Model,
    dataset: Dataset,
    examples: Sequence[Example],
    options: RestoreOptions,
    inference: Inference,
    on_image: Callable[[ImageResult, Pictures], None] | None = None,
    further: Sequence[Metric] = (),
) -> Run:
    """Measure a model on a set.

    Args:
        model: What is measured.
        dataset: The set.
        examples: As for `measure`, like all that follow.
        options: Self-ensemble, precision, tiles.
        inference: How large images are cut.
        on_image: Told of each image when it is done.
        further: Metrics beside PSNR and SSIM.

    Raises:
        MambairError: As `measure` raises.
    """
    result = measure(
        model.network, model.spec, dataset, examples, options, inference, on_image, further
    )
    return Run(
        model.spec,
        sum(parameter.numel() for parameter in model.network.parameters()),
        model.sha256,
        options.ensemble,
        f"{describe_device(model.device)}, {processor()}",
        model.precision,
        model.scan,
        result,
    )


def require_task(dataset: Dataset, examples: Sequence[Example], spec: ModelSpec) -> None:
    """Refuse a set that does not measure what a model does.

    Raises:
        UsageError: It measures another task; the hint names the sets for this one.
    """
    if spec.task not in dataset.tasks:
        suited = ", ".join(known.name for known in DATASETS if spec.task in known.tasks)
        raise UsageError(
            f"{spec.id} is for {spec.task}, {dataset.name} measures {' and '.join(dataset.tasks)}",
            f"choose one of: {suited}",
        )
    made = any(example.given is None for example in examples)
    untold = spec.sigma is None and spec.quality is None
    if made and untold and spec.task in ("denoise", "dejpeg"):
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
    """Restore and score every image of a set.

    Args:
        network: On its device, evaluation mode.
        spec: Of the network.
        dataset: The set.
        examples: Its images, from `layouts.examples_in`.
        options: Self-ensemble, precision; the tile matters for `tiled` only.
        inference: How large images are cut.
        on_image: Told of each image when it is done.
        further: Metrics beside PSNR and SSIM.

    Raises:
        UsageError: The set does not fit the model.
        ImageError: An image cannot be read, or is not as large as its partner says.
    """
    require_task(dataset, examples, spec)
    # Before the work, as all that reads files and may fail.
    sha256 = digest_of(examples)
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
        dataset.own,
        len(examples) == dataset.images,
        sha256,
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
    pictures = Pictures(to_8_bits(trial.low), to_8_bits(restored), trial.truth)
    return result, pictures
