"""Whether inputs and scores are those of the literature: known values, measured here.

    python benchmarks/protocol_check.py DIR

DIR holds Set5, Set14 (HR and LR_bicubic), CBSD68 and classic5. No network runs: bicubic
enlargement, noise and JPEG themselves are scored, which many papers report. Writes
benchmarks/results/protocol_check.json, and fails if anything is off by more than 0.005 dB or 0.0001
beyond the rounding of the known value.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu

from mambair_cli.evaluation.datasets import Dataset, find_dataset
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.evaluation.examples import Example
from mambair_cli.evaluation.layouts import examples_in
from mambair_cli.evaluation.metrics import psnr, y_psnr, y_ssim
from mambair_cli.evaluation.protocol import Scores, prepare, score, unrestored
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.color import rgb_to_y
from mambair_cli.pixels.resize import imresize

RESULT = Path(__file__).parent / "results" / "protocol_check.json"
DECIBELS, SIMILARITY = 0.005, 0.0001


@dataclass(frozen=True)
class Known:
    """A value that is known from elsewhere.

    Attributes:
        dataset: Which set.
        spec: Task and level.
        way: Key of `WAYS`.
        psnr: Mean in dB, as printed.
        ssim: Mean, as printed, or None.
    """

    dataset: str
    spec: ModelSpec
    way: str
    psnr: float
    ssim: float | None = None


def as_measured(example: Example, spec: ModelSpec, dataset: Dataset) -> Scores:
    """By the functions that `mambair bench` uses, with the inputs that come with the set."""
    trial = prepare(example, spec, dataset)
    return score(unrestored(trial, spec), trial.truth, spec)


def made_here(example: Example, spec: ModelSpec, dataset: Dataset) -> Scores:
    """The same with inputs made here."""
    return as_measured(replace(example, given=None), spec, dataset)


def luma_resized(example: Example, spec: ModelSpec, dataset: Dataset) -> Scores:
    """Rounded luma itself made smaller and enlarged, and rounded; a gray image is its own luma."""
    truth = crop_to_multiple(example.truth(), spec.scale)
    luma = np.rint(rgb_to_y(truth)) if truth.shape[2] == 3 else truth[..., 0].astype(float)
    low = imresize(luma, 1 / spec.scale, border=dataset.border)
    enlarged, border = np.rint(imresize(low, spec.scale)).clip(0, 255), spec.scale
    return Scores(y_psnr(enlarged, luma, border), y_ssim(enlarged, luma, border))


def not_clipped(example: Example, spec: ModelSpec, dataset: Dataset) -> Scores:
    """The noise itself."""
    trial = prepare(example, spec, dataset)
    return Scores(psnr(trial.low.astype(np.float64) * 255, trial.truth), 0)


WAYS: dict[str, Callable[[Example, ModelSpec, Dataset], Scores]] = {
    "bicubic of the files that come with the set, all images as RGB": as_measured,
    "bicubic of files made here, all images as RGB": made_here,
    "bicubic of luma, gray images as they are": luma_resized,
    "noise of seed 0 for each image, not clipped": not_clipped,
    "JPEG by libjpeg": as_measured,
}
STORED, MADE, LUMA, NOISE, JPEG = WAYS


def sr(scale: int) -> ModelSpec:
    """Super-resolution."""
    return ModelSpec("bicubic", "sr", scale, 3)


BICUBIC = {
    STORED: {
        "Set5": {2: (33.67, 0.9303), 3: (30.40, 0.8689), 4: (28.43, 0.8111)},
        "Set14": {2: (30.33, 0.8699), 3: (27.63, 0.7759), 4: (26.09, 0.7048)},
    },
    LUMA: {
        "Set5": {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)},
        "Set14": {2: (30.23, 0.8687), 3: (27.54, 0.7736), 4: (26.00, 0.7019)},
    },
}
BICUBIC[MADE] = {"Set5": BICUBIC[STORED]["Set5"]}
KNOWN = (
    *(
        Known(dataset, sr(scale), way, *values)
        for way, sets in BICUBIC.items()
        for dataset, scales in sets.items()
        for scale, values in scales.items()
    ),
    *(
        Known("CBSD68", ModelSpec("noise", "denoise", 1, 3, sigma=sigma), NOISE, value)
        for sigma, value in ((15, 24.619), (25, 20.182), (50, 14.161))
    ),
    *(
        Known("classic5", ModelSpec("jpeg", "dejpeg", 1, 1, quality=quality), JPEG, value)
        for quality, value in ((10, 27.82), (20, 30.12), (30, 31.48), (40, 32.43))
    ),
)


def measured(known: Known, root: Path) -> dict[str, object]:
    """Measures one value and compares it."""
    dataset = find_dataset(known.dataset)
    examples = examples_in(root / known.dataset, known.spec.task, known.spec.scale)
    scores = [WAYS[known.way](example, known.spec, dataset) for example in examples]
    found = Scores(
        statistics.fmean(each.psnr for each in scores),
        statistics.fmean(each.ssim for each in scores),
    )
    digits = 3 if known.way == NOISE else 2
    off = abs(found.psnr - known.psnr) > DECIBELS + 0.5 * 10**-digits
    if known.ssim is not None:
        off |= abs(found.ssim - known.ssim) > SIMILARITY + 0.00005
    return {
        "set": known.dataset,
        "level": known.spec.sigma or known.spec.quality or known.spec.scale,
        "way": known.way,
        "known_psnr": known.psnr,
        "psnr": round(found.psnr, 4),
        "known_ssim": known.ssim,
        "ssim": None if known.ssim is None else round(found.ssim, 5),
        "agrees": not off,
    }


def main() -> None:
    """Measures all values and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("directory", type=Path)
    root = parser.parse_args().directory
    rows = []
    for known in KNOWN:
        rows.append(measured(known, root))
        print(rows[-1], flush=True)
    result = {"commit": describe_commit(), "hardware": describe_cpu(), "values": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")
    if not all(row["agrees"] for row in rows):
        sys.exit("not all values agree")


if __name__ == "__main__":
    main()
