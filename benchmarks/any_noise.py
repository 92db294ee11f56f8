"""How well noise is measured, and which way serves a strength that no weights were trained for.

    python benchmarks/any_noise.py --clean /data/Set14/HR --real /data/PolyU [--crop 144]

Gaussian noise is clipped and rounded as files hold it. Estimators: that of `mambair denoise`, on
pixels as they are and on a JPEG file of quality 92, and scikit-image's `estimate_sigma` (needs
PyWavelets). Ways, all with the bundled weights, as gain in dB over the noisy image: the nearest
level, contrast scaled to it in full, a blend of two levels, and what `mambair denoise` does. Writes
`results/any_noise.json`.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image
from skimage.restoration import estimate_sigma as wavelet_sigma

from mambair_cli.api import load_model
from mambair_cli.batches.treatment.steps import Step
from mambair_cli.checkpoints.choice import nearest_level
from mambair_cli.checkpoints.request import Request
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.pixels.noise import estimate_sigma
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_image

RESULT = Path(__file__).parent / "results" / "any_noise.json"
MEASURED = (0, 3, 5, 8, 12, 15, 20, 25, 35, 50, 60)
RESTORED = (4, 6, 8, 11, 15, 20, 25, 30, 35, 42, 50, 60)
LEVELS = (15, 25, 50)

Picture = NDArray[np.uint8]


def noisy(picture: Picture, sigma: float, generator: np.random.Generator) -> Picture:
    """Add noise as a file holds it."""
    values = picture + generator.normal(0, sigma, picture.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def as_jpeg(picture: Picture) -> Picture:
    """Compress and decode."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=92)
    return np.asarray(Image.open(buffer))


ESTIMATORS: dict[str, Callable[[Picture], float]] = {
    "ours": lambda picture: estimate_sigma(picture, compressed=False),
    "ours, JPEG 92": lambda picture: estimate_sigma(as_jpeg(picture), compressed=True),
    "scikit-image": lambda picture: wavelet_sigma(picture, average_sigmas=True, channel_axis=-1),
    "scikit-image, JPEG 92": lambda picture: wavelet_sigma(
        as_jpeg(picture), average_sigmas=True, channel_axis=-1
    ),
}


def psnr(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Over all values."""
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return float(10 * np.log10(255**2 / error))


class Ways:
    """Restores with each of the bundled weights in each way."""

    def __init__(self) -> None:
        self._models = {
            level: load_model(f"mambair-tiny-denoise-s{level}", device="cpu") for level in LEVELS
        }

    def restored(self, picture: Picture, level: int, fitting: Fitting = AS_TRAINED) -> Picture:
        """Restore with the weights of a level."""
        model = self._models[level]
        image, options = RestorableImage(picture), RestoreOptions(tile=0)
        return restore_image(model.network, image, model.spec, options, fitting=fitting).pixels

    def fitted(self, sigma: float, level: int) -> Fitting:
        """Fit the weights of a level as `mambair denoise` does."""
        return Step(Request("denoise"), sigma).fitting(self._models[level].spec)

    def all(self, picture: Picture, sigma: float) -> dict[str, Picture]:
        """Restore in every way."""
        nearest = min(LEVELS, key=lambda level: abs(level - sigma))
        ours = nearest_level("sigma", sigma, LEVELS)
        made = {
            "nearest": self.restored(picture, nearest),
            "contrast": self.restored(picture, nearest, Fitting(nearest / sigma)),
            "ours": self.restored(picture, ours, self.fitted(sigma, ours)),
        }
        for low, high in itertools.pairwise(LEVELS):
            if low < sigma < high:
                share = (sigma - low) / (high - low)
                weak, strong = self.restored(picture, low), self.restored(picture, high)
                made["blend"] = np.rint((1 - share) * weak + share * strong).astype(np.uint8)
        return made


def spread(values: list[float]) -> dict[str, float]:
    """Return mean and deviation."""
    return {"mean": round(float(np.mean(values)), 2), "std": round(float(np.std(values)), 2)}


def pictures(folder: Path, pattern: str, crop: int) -> list[tuple[Path, Picture]]:
    """Read the middle of each picture in colour."""
    found = []
    for path in sorted(folder.glob(pattern)):
        picture = Image.open(path).convert("RGB")
        left, top = ((side - crop) // 2 for side in picture.size)
        found.append((path, np.asarray(picture.crop((left, top, left + crop, top + crop)))))
    return found


def main() -> None:
    """Measure estimators and ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=144, help="side of what is restored")
    parser.add_argument("--every", type=int, default=5, help="of the pairs of real noise")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator, ways = np.random.default_rng(0), Ways()

    estimates: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in ESTIMATORS}
    for _, picture in pictures(arguments.clean, "*.png", 256):
        for sigma in MEASURED:
            for name, estimate in ESTIMATORS.items():
                estimates[name][sigma].append(float(estimate(noisy(picture, sigma, generator))))
    real: dict[str, list[float]] = defaultdict(list)
    for path, picture in pictures(arguments.real, "*real*", 320)[:: arguments.every]:
        mean = Image.open(path.with_name(path.name.replace("real", "mean"))).convert("RGB")
        left, top = ((side - 320) // 2 for side in mean.size)
        clean = np.asarray(mean.crop((left, top, left + 320, top + 320)))
        real["deviation from the mean of many shots"].append(float(np.std(picture - clean * 1.0)))
        real["ours"].append(estimate_sigma(picture, compressed=True))
        real["scikit-image"].append(float(ESTIMATORS["scikit-image"](picture)))
    gains: dict[int, dict[str, list[float]]] = {sigma: defaultdict(list) for sigma in RESTORED}
    for _, picture in pictures(arguments.clean, "*.png", arguments.crop):
        for sigma in RESTORED:
            damaged = noisy(picture, sigma, generator)
            for name, made in ways.all(damaged, sigma).items():
                gains[sigma][name].append(psnr(made, picture) - psnr(damaged, picture))
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "estimated": {
            name: {sigma: spread(values) for sigma, values in each.items()}
            for name, each in estimates.items()
        },
        "estimated_of_real_noise": {name: spread(values) for name, values in real.items()},
        "gain_in_db": {
            sigma: {
                name: {"mean": round(float(np.mean(v)), 2), "least": round(min(v), 2)}
                for name, v in each.items()
            }
            for sigma, each in gains.items()
        },
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
