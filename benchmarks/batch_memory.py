"""Measures whether memory stays flat over a batch: resident memory after each of 500 images.

    python benchmarks/batch_memory.py [--images 500] [--io-threads 0] [--result FILE]

Every image has another size; formats take turns. The batch runs as `mambair sr` runs it, with the
bundled network on the CPU. Writes benchmarks/results/batch_memory.json: commit, hardware, resident
memory along the batch, its slope and its largest growth after the first 100 images, in which
kernels are loaded and allocators fill.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu

import mambair_cli as mambair
from mambair_cli.imaging.files import write_image
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, Pixels, RestorableImage
from mambair_cli.networks import prepare_kernels
from mambair_cli.restoration.batch import (
    Event,
    FileDone,
    FileOptions,
    Restore,
    plan_jobs,
    run_batch,
)
from mambair_cli.restoration.memory import MEBIBYTE, resident_memory
from mambair_cli.restoration.restorer import Notice, Progress, RestoreOptions, restore_image
from mambair_cli.restoration.streaming import restore_bands

RESULT = Path(__file__).parent / "results" / "batch_memory.json"
# Suffix, type, channels with opacity.
KINDS: tuple[tuple[str, type, int], ...] = (
    (".png", np.uint8, 3),
    (".jpg", np.uint8, 3),
    (".png", np.uint16, 3),
    (".tif", np.uint8, 3),
    (".webp", np.uint8, 4),
    (".tif", np.uint16, 1),
    (".png", np.uint8, 4),
    (".tif", np.float32, 3),
)
SIDES = (32, 128)  # the least and the most
WARM_UP = 100


def make_images(folder: Path, count: int) -> None:
    """Writes images of all kinds, each of another size."""
    generator = np.random.default_rng(0)
    for index, kind in zip(range(count), itertools.cycle(KINDS), strict=False):
        suffix, dtype, channels = kind
        height, width = generator.integers(*SIDES, 2)
        values = generator.random((height, width, channels))
        if dtype is not np.float32:
            values *= np.iinfo(dtype).max
        pixels: Pixels = values.astype(dtype)
        colours = min(channels, 3)
        alpha = pixels[..., 3] if channels == 4 else None
        write_image(folder / f"{index:04}{suffix}", RestorableImage(pixels[..., :colours], alpha))


def bundled_network() -> Restore:
    """The network that comes with the package, on the CPU."""
    model = mambair.load_model("mambair-tiny-sr-x4", "cpu")
    prepare_kernels(model.scan)
    options = RestoreOptions(precision=model.precision)

    def image(source: RestorableImage, on_progress: Progress, on_notice: Notice) -> RestorableImage:
        return restore_image(model.network, source, model.spec, options, on_progress, on_notice)

    def bands(
        reader: BandReader, binary_alpha: bool, on_progress: Progress, on_notice: Notice
    ) -> tuple[ImageHeader, Iterator[Band]]:
        callbacks = (on_progress, on_notice)
        return restore_bands(
            model.network, reader, model.spec, options, *callbacks, binary_alpha=binary_alpha
        )

    return Restore(image, bands)


def resident_along_a_batch(count: int, io_threads: int) -> list[int]:
    """Bytes of resident memory after each image."""
    taken: list[int] = []

    def on_event(event: Event) -> None:
        if isinstance(event, FileDone):
            taken.append(resident_memory())

    with tempfile.TemporaryDirectory() as scratch:
        (source := Path(scratch, "in")).mkdir()
        make_images(source, count)
        jobs = plan_jobs(
            [source],
            output=Path(scratch, "out"),
            suffix="",
            format=None,
            recursive=True,
            overwrite=False,
        )
        restorers = {"cpu": bundled_network()}
        summary = run_batch(
            jobs, restorers, on_event, files=FileOptions(scale=4), io_threads=io_threads
        )
        for failed in summary.failed:
            raise SystemExit(f"{failed.job.source.name}: {failed.error}")
    return taken


def main() -> None:
    """Runs the batch and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--io-threads", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    taken = resident_along_a_batch(arguments.images, arguments.io_threads)
    after = [value / MEBIBYTE for value in taken[WARM_UP:]]
    slope = statistics.linear_regression(range(len(after)), after).slope
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "images": len(taken),
        "kinds": [f"{suffix[1:]} {np.dtype(d).name} x{c}" for suffix, d, c in KINDS],
        "sides": SIDES,
        "io_threads": arguments.io_threads,
        "resident_mebibytes": {
            str(index + 1): round(taken[index] / MEBIBYTE, 1)
            for index in range(0, len(taken), max(1, len(taken) // 20))
        },
        "after_images": WARM_UP,
        "slope_kibibytes_for_each_image": round(slope * 1024, 2),
        "largest_growth_mebibytes": round(max(after) - after[0], 1),
        "last_growth_mebibytes": round(after[-1] - after[0], 1),
    }
    print(json.dumps(result, indent=1))
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {arguments.result}")


if __name__ == "__main__":
    main()
