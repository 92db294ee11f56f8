"""What the bundled weights for cameras make of real noise: pairs of one shot and the mean of many.

    python benchmarks/real_noise.py --pairs /data/PolyU [--every 1] [--precision P] [--weights W]...

Pairs are `*_real.JPG` and `*_mean.JPG`, in RGB; nothing was trained on them. For each of the
weights the mean PSNR, over all and by camera, the gain by camera, the least gain and how many
pictures lose; and in how many pictures the noise is taken for coarse. Writes
benchmarks/results/real_noise.json. `--rows FILE` keeps what was measured of each picture, and goes
on from there when it is run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image

import mambair_cli as mambair
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.image import RestorableImage

RESULT = Path(__file__).parent / "results" / "real_noise.json"
DEFAULT = ("mambair-tiny-denoise-real", "mambair-tiny-denoise-s15")


class Row(NamedTuple):
    """What became of a picture by some weights: PSNR before and after, in dB."""

    picture: str
    weights: str
    before: float
    after: float
    coarse: bool

    @property
    def camera(self) -> str:
        """What took it."""
        return self.picture.split("_")[0]


def read(path: Path) -> NDArray[np.uint8]:
    """Read a picture in colour."""
    return np.asarray(Image.open(path).convert("RGB"))


def summary(rows: list[Row]) -> dict[str, Any]:
    """Sum up what became of pictures, in dB."""
    gains, results = defaultdict(list), defaultdict(list)
    for row in rows:
        gains[row.camera].append(row.after - row.before)
        results[row.camera].append(row.after)
    each = [gain for found in gains.values() for gain in found]
    return {
        "psnr": round(fmean(row.after for row in rows), 3),
        "least_gain": round(min(each), 3),
        "worse": sum(gain < 0 for gain in each),
        "gain_by_camera": means(gains),
        "psnr_by_camera": means(results),
    }


def means(found: dict[str, list[float]]) -> dict[str, float]:
    """Average what was measured of each camera."""
    return {camera: round(fmean(each), 3) for camera, each in sorted(found.items())}


def measured(file: Path, model: mambair.Model) -> Row:
    """Restore one shot, measure it against the mean of many."""
    noisy, clean = read(file), read(file.with_name(file.name.replace("_real", "_mean")))
    before = psnr(noisy, clean, border=0)
    after = psnr(np.asarray(mambair.restore(noisy, model)), clean, border=0)
    coarse = Sample.of_image(RestorableImage(noisy)).has_coarse_noise
    return Row(file.stem, Path(model.path).stem, before, after, coarse)


def main() -> None:
    """Restore one shot of each scene, measure against the mean of many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth pair")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(arguments.pairs.glob("*_real.JPG"))[:: arguments.every]
    models = [
        mambair.load_model(name, "cpu", arguments.precision)
        for name in arguments.weights or DEFAULT
    ]
    kept = arguments.rows.read_text() if arguments.rows and arguments.rows.exists() else ""
    rows = [Row(*json.loads(line)) for line in kept.splitlines()]
    done = {(row.picture, row.weights) for row in rows}
    for file, model in itertools.product(files, models):
        if (file.stem, Path(model.path).stem) in done:
            continue
        rows.append(measured(file, model))
        print(rows[-1], flush=True)
        if arguments.rows:
            with arguments.rows.open("a") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    weights = {"input": [row._replace(after=row.before) for row in rows]}
    for row in rows:
        weights.setdefault(row.weights, []).append(row)
    content = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "precision": arguments.precision,
        "pairs": len(files),
        "coarse": sum(row.coarse for row in rows) // len(models),
        "weights": {name: summary(of_these) for name, of_these in weights.items()},
    }
    for name, found in content["weights"].items():
        print(f"{name:32} {found['psnr']:.2f} dB, least gain {found['least_gain']:+.2f}")
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
