"""What a benchmark found, beside the paper's numbers: as a table, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mambair_cli.errors import MambairError, UsageError
from mambair_cli.evaluation.benchmark import SetResult
from mambair_cli.evaluation.published import PublishedResult, peers_of, reported_for
from mambair_cli.networks.spec import ModelSpec

SCHEMA_VERSION = 1
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
        return f"{self.spec.id}{'+' if self.ensemble else ''}"

    @property
    def reported(self) -> PublishedResult | None:
        """What the authors say that this model reaches on this set."""
        rows = reported_for(self.spec, ensemble=self.ensemble)
        return next((row for row in rows if self.result.dataset in row.psnr), None)

    @property
    def difference(self) -> float | None:
        """Measured PSNR minus the reported one, in dB."""
        row = self.reported
        return None if row is None else self.result.restored.psnr - row.psnr[self.result.dataset]


def check(runs: Sequence[Run], tolerance: float) -> None:
    """Compares with what the authors report.

    Args:
        runs: What was measured.
        tolerance: Largest difference in dB that is no failure.

    Raises:
        UsageError: Nothing is reported for any of them, or a set was not complete.
        MambairError: A difference is larger.
    """
    incomplete = [run.result.dataset for run in runs if not run.result.complete]
    if incomplete:
        raise UsageError(
            f"{', '.join(incomplete)}: not all images are there, so the mean cannot be checked",
            "complete the set, or leave out --check",
        )
    compared = [(run, run.difference) for run in runs]
    known = [(run, difference) for run, difference in compared if difference is not None]
    if not known:
        names = ", ".join(dict.fromkeys(run.label for run in runs))
        raise UsageError(
            f"nobody reports a score of {names} to check against",
            "check published weights, such as --model light, or leave out --check",
        )
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
    """Everything of a run but its images, with plain values for JSON and CSV."""
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


def as_json(runs: Sequence[Run]) -> str:
    """The whole report, images included, as one JSON document."""
    rows = [
        {
            **facts(run),
            "scores": [asdict(image) for image in run.result.images],
            "peers": [
                {"method": row.method, "psnr": row.psnr[run.result.dataset], "source": row.source}
                for row in peers_of(run.spec, run.result.dataset)
            ],
        }
        for run in runs
    ]
    return json.dumps({"version": SCHEMA_VERSION, "runs": rows}, indent=1) + "\n"


def as_csv(runs: Sequence[Run]) -> str:
    """One line for each run, and a header."""
    stream = io.StringIO()
    rows = [facts(run) for run in runs]
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_markdown(runs: Sequence[Run]) -> str:
    """A table of scores, the peers of each model, and what the numbers depend on."""
    head = "| data set | model | PSNR | SSIM | reported | difference | input | seconds |"
    lines = ["# Benchmark", "", head, "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(run))} |" for run in runs]
    for run in runs:
        peers = peers_of(run.spec, run.result.dataset)
        if peers:
            listed = ", ".join(f"{row.method} {row.psnr[run.result.dataset]:.2f}" for row in peers)
            lines += ["", f"{run.result.dataset}, {peers[0].source}: {listed}."]
    lines += ["", *(f"- {condition}" for condition in conditions(runs))]
    return "\n".join(lines) + "\n"


def cells(run: Run) -> list[str]:
    """One row of the table of scores, for people."""
    result, row = run.result, run.reported
    name, count = result.dataset, len(result.images)
    reported = "" if row is None else f"{row.psnr[name]:.2f}"
    if row is not None and name in row.ssim:
        reported += f" / {row.ssim[name]:.4f}"
    return [
        name if result.complete else f"{name} ({count} images)",
        run.label,
        f"{result.restored.psnr:.3f}",
        " ".join(
            [
                f"{result.restored.ssim:.4f}",
                *(f"{metric} {value:.4f}" for metric, value in result.further.items()),
            ]
        ),
        reported,
        "" if run.difference is None else f"{run.difference:+.3f}",
        f"{result.unrestored.psnr:.2f} / {result.unrestored.ssim:.4f}",
        f"{result.seconds:.1f}",
    ]


def conditions(runs: Sequence[Run]) -> list[str]:
    """What the numbers depend on, a line each."""
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
