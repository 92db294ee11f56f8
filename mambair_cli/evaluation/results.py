"""What was measured: scores of images and of sets, beside what the weights' authors report."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mambair_cli.errors import MambairError, UsageError
from mambair_cli.evaluation.protocol import Inference, Scores
from mambair_cli.evaluation.published import PublishedResult, peers_of, reported_on
from mambair_cli.networks.spec import ModelSpec

DECIBELS, SIMILARITY = 3, 4

# What a number depends on beside weights and images, said in every report.
PROTOCOLS = {
    "paper": "the authors' partition: parts of about 200 pixels, overlapping by a tenth, cut hard",
    "whole": "whole images",
    "tiled": "blended tiles",
}
SCORING = {
    "sr": "luma (BT.601, studio range), without a border of `scale` pixels; gray images as RGB",
    "realsr": "luma (BT.601, studio range), without a border of `scale` pixels; gray images as RGB",
    "denoise": "RGB, all pixels; noise drawn for each image from seed 0, in BGR order, not clipped",
    "denoise-real": "RGB, all pixels, not rounded to 8 bits",
    "dejpeg": "one channel, all pixels; JPEG by libjpeg; colour images as rounded luma",
}
INPUTS = {
    "given": "as they come with the set",
    "made": "made here: MATLAB's bicubic, seeded noise, or libjpeg",
}


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
        own: Whether it is the user's, so that nobody published anything of it.
        complete: Whether it had all its images.
        sha256: Over the names and contents of its files.
        inputs: `given` if they came with the set, `made` if they were made here.
        inference: How large images were cut.
        images: Each of them.
        peak_bytes: Most memory: of the GPU since the set was begun, or of the process so far.
    """

    dataset: str
    own: bool
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
class Run:
    """One model on one set.

    Attributes:
        spec: The model.
        parameters: Of its network.
        sha256: Of its weights file.
        ensemble: With the self-ensemble (MambaIR+).
        device: Where it ran, for people.
        precision: What it computed in.
        scan: Backend of the selective scan.
        result: What was measured.
    """

    spec: ModelSpec
    parameters: int
    sha256: str
    ensemble: bool
    device: str
    precision: str
    scan: str
    result: SetResult

    @property
    def label(self) -> str:
        """The model, with a `+` for the self-ensemble."""
        return label_of(self.spec, ensemble=self.ensemble)

    @property
    def reported(self) -> PublishedResult | None:
        """What the authors say that this model reaches on this set."""
        if self.result.own:
            return None
        return reported_on(self.result.dataset, self.spec, ensemble=self.ensemble)

    @property
    def peers(self) -> list[PublishedResult]:
        """What is published of other models on this set, best last."""
        return [] if self.result.own else peers_of(self.spec, self.result.dataset)

    @property
    def difference(self) -> float | None:
        """Measured PSNR minus the reported one, in dB."""
        row = self.reported
        return None if row is None else self.result.restored.psnr - row.psnr[self.result.dataset]


def label_of(spec: ModelSpec, *, ensemble: bool) -> str:
    """Name a model in reports, with a `+` for the self-ensemble."""
    return f"{spec.id}{'+' if ensemble else ''}"


def require_reported(
    measured: Iterable[tuple[str, bool, ModelSpec]], *, ensemble: bool = False
) -> None:
    """Check that there is something to compare with, before anything is measured.

    Args:
        measured: Name of each data set, whether all its images are there, and the model.
        ensemble: With the self-ensemble (MambaIR+).

    Raises:
        UsageError: Nothing is reported for any of them, or a set is not complete.
    """
    measured = list(measured)
    incomplete = [name for name, complete, _ in measured if not complete]
    if incomplete:
        raise UsageError(
            f"{', '.join(incomplete)}: not all images are there, so the mean cannot be checked",
            "complete the set, or leave out --check",
        )
    if not any(reported_on(name, spec, ensemble=ensemble) for name, _, spec in measured):
        labels = (label_of(spec, ensemble=ensemble) for _, _, spec in measured)
        raise UsageError(
            f"nobody reports a score of {', '.join(dict.fromkeys(labels))} to check against",
            "check published weights, such as --model light, or leave out --check",
        )


def check(runs: Sequence[Run], tolerance: float) -> None:
    """Compare with what the authors report.

    Args:
        runs: What was measured; `require_reported` was asked about it.
        tolerance: Largest difference in dB that is no failure.

    Raises:
        MambairError: A difference is larger.
    """
    compared = [(run, run.difference) for run in runs]
    known = [(run, difference) for run, difference in compared if difference is not None]
    off = [
        f"\n  {run.label} on {run.result.dataset}: {run.result.restored.psnr:.3f} dB, "
        f"reported {run.result.restored.psnr - difference:.2f}, difference {difference:+.3f}"
        for run, difference in known
        if abs(difference) > tolerance
    ]
    if off:
        raise MambairError(
            f"{len(off)} of {len(known)} scores are off by more than {tolerance:g} dB:"
            + "".join(off),
            "docs/protocols.md says what makes numbers differ",
        )


def facts(run: Run) -> dict[str, Any]:
    """Collect everything of a run but its images, as plain values for JSON and CSV."""
    result, row = run.result, run.reported
    name = result.dataset
    return {
        "model": run.spec.id,
        "ensemble": run.ensemble,
        "sha256": run.sha256,
        "parameters": run.parameters,
        "task": run.spec.task,
        "scale": run.spec.scale,
        "sigma": run.spec.sigma,
        "quality": run.spec.quality,
        "dataset": name,
        "dataset_sha256": result.sha256,
        "own": result.own,
        "images": len(result.images),
        "complete": result.complete,
        "inputs": result.inputs,
        "protocol": result.inference,
        "psnr": round(result.restored.psnr, DECIBELS),
        "ssim": round(result.restored.ssim, SIMILARITY),
        "input_psnr": round(result.unrestored.psnr, DECIBELS),
        "input_ssim": round(result.unrestored.ssim, SIMILARITY),
        "reported_psnr": None if row is None else row.psnr[name],
        "reported_ssim": None if row is None else row.ssim.get(name),
        "reported_by": None if row is None else row.source,
        **{metric: round(value, SIMILARITY) for metric, value in result.further.items()},
        "difference": None if run.difference is None else round(run.difference, DECIBELS),
        "device": run.device,
        "precision": run.precision,
        "scan": run.scan,
        "seconds": round(result.seconds, 3),
        "megapixels_per_second": round(result.megapixels_per_second, 4),
        "peak_mebibytes": round(result.peak_bytes / 2**20),
    }


def conditions(runs: Sequence[Run]) -> list[str]:
    """Say what the numbers depend on, a line each."""
    return list(
        dict.fromkeys(
            line
            for run in runs
            for line in (
                f"protocol: {PROTOCOLS[run.result.inference]}",
                f"scores: {SCORING[run.spec.task]}",
                f"inputs of {run.result.dataset}: {INPUTS[run.result.inputs]}",
                f"run on {run.device}, {run.precision}, scan {run.scan}",
            )
        )
    )


def _mean(scores: Sequence[Scores]) -> Scores:
    return Scores(
        statistics.fmean(score.psnr for score in scores),
        statistics.fmean(score.ssim for score in scores),
    )
