"""What becomes of small photographs, enlarged four times: ours beside Lanczos.

    python benchmarks/small_photographs.py [--pictures DIR] [--weights NAME]...

Makes two sets of small photographs of three pictures that scikit-image ships and that are in the
public domain (an astronaut, a cat, coffee): bad ones, blurred, noisy and saved at low quality, and
milder ones. `--weights` measures weights of `realsr` besides. Writes
benchmarks/results/small_photographs.json and, with `--pictures`, the pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import mambair_cli as mambair
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.degradations.blur import gaussian
from mambair_cli.training.degradations.compression import recoded
from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.degradations.resizing import resized
from mambair_cli.training.parsing import Span

RESULT = Path(__file__).parent / "results" / "small_photographs.json"
SCALE = 4
Pixels = NDArray[np.uint8]
SUBJECTS: dict[str, Callable[[], Pixels]] = {
    "astronaut": data.astronaut,
    "cat": data.chelsea,
    "coffee": data.coffee,
}


class Harm(NamedTuple):
    """What was done to a photograph: blur before it was made small, noise and JPEG after."""

    blur: float
    noise: float
    quality: int


SETS: dict[str, tuple[Harm, ...]] = {
    "bad": (Harm(1.0, 4, 45), Harm(1.2, 5, 40), Harm(1.4, 6, 35)),
    "milder": (Harm(0.6, 2, 75),) * 3,
}


def small(truth: Pixels, harm: Harm, seed: int) -> Pixels:
    """Make a small photograph: blurred, reduced, noised, saved with 4:2:0."""
    size = truth.shape[0] // SCALE, truth.shape[1] // SCALE
    picture = truth.astype(np.float32) / np.float32(255)
    reduced = resized(to_8_bits(gaussian(picture, (harm.blur, harm.blur))), size, "bicubic")
    noise = Noise("noise", Span(harm.noise, harm.noise))
    return recoded(noise(reduced, np.random.default_rng(seed)), harm.quality, "4:2:0")


def ours(weights: list[str]) -> dict[str, Callable[[Pixels, Harm], Pixels]]:
    """Ways to enlarge an image that was harmed in a known way."""

    def by(name: str) -> Callable[[Pixels], Pixels]:
        model = mambair.load_model(name)
        return lambda image: np.asarray(mambair.restore(image, model))

    enlarge = by("mambair-tiny-sr-x4")
    clean = by("mambair-tiny-dejpeg-q40")
    size = lambda image: tuple(side * SCALE for side in image.shape[:2])  # noqa: E731
    ways: dict[str, Callable[[Pixels, Harm], Pixels]] = {
        "Lanczos": lambda image, _: resized(image, size(image), "lanczos"),
        "sr": lambda image, _: enlarge(image),
        "dejpeg, then sr": lambda image, _: enlarge(clean(image)),
    }
    for name in weights:
        restore = by(name)
        ways[Path(name).stem] = lambda image, _, restore=restore: restore(image)  # type: ignore[misc]
    return ways


def main() -> None:
    """Make the sets, enlarge them in every way, write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    ways = ours(arguments.weights)
    rows: dict[str, dict[str, float]] = {}
    for label, harms in SETS.items():
        truths = {name: crop_to_multiple(load()[..., :3], SCALE) for name, load in SUBJECTS.items()}
        harmed = {
            name: (small(truth, harm, seed), harm)
            for seed, ((name, truth), harm) in enumerate(zip(truths.items(), harms, strict=True))
        }
        results = {
            way: {name: restore(image, harm) for name, (image, harm) in harmed.items()}
            for way, restore in ways.items()
        }
        images = {name: image for name, (image, _) in harmed.items()}
        rows[label] = {
            way: round(fmean(psnr(found[name], truths[name], border=0) for name in truths), 3)
            for way, found in results.items()
        }
        for way, score in rows[label].items():
            print(f"{label:8} {way:32} {score:.2f} dB", flush=True)
        if arguments.pictures:
            for way, found in {**results, "input": images, "truth": truths}.items():
                for name, image in found.items():
                    file = arguments.pictures / f"{label}_{name}_{way.replace(' ', '_')}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(file)
    content = {"commit": describe_commit(), "cpu": describe_cpu(), "psnr_rgb": rows}
    RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
