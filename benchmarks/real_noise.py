"""What the bundled weights for cameras make of real noise: pairs of one shot and the mean of many.

    python benchmarks/real_noise.py --pairs /data/PolyU [--every 1] [--precision P] [--weights W]...

Pairs are `*_real.JPG` and `*_mean.JPG`, in RGB; nothing was trained on them. For each of the
weights the mean PSNR, the gain by camera, the least gain and how many pictures lose. Writes
benchmarks/results/real_noise.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image

import mambair_cli as mambair
from mambair_cli.evaluation.metrics import psnr

RESULT = Path(__file__).parent / "results" / "real_noise.json"
DEFAULT = ("mambair-tiny-denoise-real", "mambair-tiny-denoise-s15")


def read(path: Path) -> NDArray[np.uint8]:
    """Read a picture in colour."""
    return np.asarray(Image.open(path).convert("RGB"))


def summary(pairs: list[tuple[str, float, float]]) -> dict[str, Any]:
    """Sum up what became of pictures of known cameras: before and after, in dB."""
    gains = defaultdict(list)
    for camera, before, after in pairs:
        gains[camera].append(after - before)
    each = [gain for found in gains.values() for gain in found]
    return {
        "psnr": round(fmean(after for *_, after in pairs), 3),
        "least_gain": round(min(each), 3),
        "worse": sum(gain < 0 for gain in each),
        "gain_by_camera": {name: round(fmean(found), 3) for name, found in sorted(gains.items())},
    }


def main() -> None:
    """Restore one shot of each scene, measure against the mean of many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth pair")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(arguments.pairs.glob("*_real.JPG"))[:: arguments.every]
    names = arguments.weights or DEFAULT
    models = {
        Path(name).stem: mambair.load_model(name, "cpu", arguments.precision) for name in names
    }
    found: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for file in files:
        camera = file.name.split("_")[0]
        noisy, clean = read(file), read(file.with_name(file.name.replace("_real", "_mean")))
        before = psnr(noisy, clean, border=0)
        found["input"].append((camera, before, before))
        for name, model in models.items():
            restored = np.asarray(mambair.restore(noisy, model))
            found[name].append((camera, before, psnr(restored, clean, border=0)))
    content = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "precision": arguments.precision,
        "pairs": len(files),
        "weights": {name: summary(pairs) for name, pairs in found.items()},
    }
    for name, row in content["weights"].items():
        print(f"{name:32} {row['psnr']:.2f} dB, least gain {row['least_gain']:+.2f}")
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
