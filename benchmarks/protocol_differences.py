"""How far each way of measuring moves a score: the differences that docs/protocols.md tells of.

    python benchmarks/protocol_differences.py DIR

DIR holds Set5, Set14 and CBSD68. Each row changes one thing of the paper's protocol. Writes
benchmarks/results/protocol_differences.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray

import mambair_cli as mambair
from mambair_cli.evaluation.datasets import find_dataset
from mambair_cli.evaluation.examples import Example
from mambair_cli.evaluation.layouts import examples_in
from mambair_cli.evaluation.metrics import psnr, y_psnr
from mambair_cli.evaluation.protocol import prepare, restore, score, unrestored
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.restoration.restorer import RestoreOptions

RESULT = Path(__file__).parent / "results" / "protocol_differences.json"
SR = ModelSpec("bicubic", "sr", 4, 3)
NOISE = ModelSpec("noise", "denoise", 1, 3, sigma=25)
Pixels = NDArray[np.uint8]
Row = tuple[str, str, float]


def pairs(root: Path, name: str) -> Iterator[tuple[Pixels, Pixels]]:
    """Bicubic enlargement and reference of each image at x4."""
    for example in examples_in(root / name, "sr", 4):
        trial = prepare(example, SR, find_dataset(name))
        yield to_8_bits(unrestored(trial, SR)), trial.truth


def full_range_luma(restored: Pixels, truth: Pixels) -> float:
    """PSNR of the luma inside JPEG files, 0 to 255 instead of 16 to 235."""
    a, b = (rgb_to_ycbcr(image)[..., 0] for image in (restored, truth))
    return psnr(a, b, border=4)


SCORED: dict[str, Callable[[Pixels, Pixels], float]] = {
    "the paper's: studio-range luma, border of 4": lambda a, b: y_psnr(a, b, 4),
    "no border": y_psnr,
    "full-range luma": full_range_luma,
    "RGB": lambda a, b: psnr(a, b, border=4),
}


def bicubic_rows(root: Path) -> Iterator[Row]:
    """Scores of bicubic enlargement."""
    for name in ("Set5", "Set14"):
        images = list(pairs(root, name))
        for way, measure in SCORED.items():
            yield f"{name} x4, bicubic", way, statistics.fmean(measure(a, b) for a, b in images)
    channels = [one.truth().shape[2] for one in examples_in(root / "Set14", "sr", 4)]
    value = statistics.fmean(
        y_psnr(a[..., :c], b[..., :c], 4)
        for c, (a, b) in zip(channels, pairs(root, "Set14"), strict=True)
    )
    yield "Set14 x4, bicubic", "the gray file (bridge) scored as it is, not as RGB", value


def noise_rows(root: Path) -> Iterator[Row]:
    """PSNR of noisy images themselves."""
    dataset = find_dataset("CBSD68")
    trials = [prepare(one, NOISE, dataset) for one in examples_in(root / "CBSD68", "denoise", 1)]
    what = "CBSD68 sigma 25, noise itself"
    plain = [psnr(trial.low * 255.0, trial.truth) for trial in trials]
    clipped = [psnr(to_8_bits(trial.low), trial.truth) for trial in trials]
    yield what, "the paper's: not clipped", statistics.fmean(plain)
    yield what, "clipped and rounded to 8 bits", statistics.fmean(clipped)


def tiny_rows(root: Path) -> Iterator[Row]:
    """Scores of the bundled weights."""
    model = mambair.load_model("mambair-tiny-sr-x4", device="cpu", precision="fp32")
    ways = {
        "the paper's: its partition": (RestoreOptions(tile=0, precision="fp32"), "paper"),
        "whole images": (RestoreOptions(tile=0, precision="fp32"), "whole"),
        "blended tiles of 64": (RestoreOptions(tile=64, precision="fp32"), "tiled"),
    }
    for name in ("Set5", "Set14"):
        dataset = find_dataset(name)
        examples = examples_in(root / name, "sr", 4)
        for way, (options, inference) in ways.items():
            scores = []
            for example in examples:
                trial = prepare(example, model.spec, dataset)
                restored = restore(model.network, trial, model.spec, options, inference)
                scores.append(score(restored, trial.truth, model.spec).psnr)
            yield f"{name} x4, mambair-tiny-sr-x4", way, statistics.fmean(scores)
        yield (
            f"{name} x4, mambair-tiny-sr-x4",
            "not rounded to 8 bits",
            statistics.fmean(_unrounded(model, example) for example in examples),
        )


def _unrounded(model: mambair.Model, example: Example) -> float:
    trial = prepare(example, model.spec, find_dataset("Set5"))
    options = RestoreOptions(tile=0, precision="fp32")
    restored = restore(model.network, trial, model.spec, options, "whole")
    return y_psnr(restored.astype(np.float64) * 255, trial.truth, 4)


def main() -> None:
    """Measures everything and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("directory", type=Path)
    root = parser.parse_args().directory
    rows = []
    for rows_of in (bicubic_rows, noise_rows, tiny_rows):
        for what, way, value in rows_of(root):
            rows.append({"what": what, "way": way, "psnr": round(value, 4)})
            print(rows[-1], flush=True)
    result = {"commit": describe_commit(), "hardware": describe_cpu(), "values": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
