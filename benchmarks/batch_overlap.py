"""Times a batch of files: reading and writing beside the network, against one after the other.

    python benchmarks/batch_overlap.py [--images 20] [--rounds 7] [--skip-cpu] [--skip-stand-in]

The first part runs the bundled network on this CPU, where the network needs all processors itself:
the question is whether threads around it cost anything; with none, as `mambair` runs on a CPU,
what is left is the batch's own bookkeeping. In the second part a wait of a fixed length that keeps
no processor busy stands in for a GPU: the question is whether it ever waits for a file. Both ways
of running take turns; ratios are taken pair by pair. Writes
benchmarks/results/batch_overlap.json: commit, hardware, medians, ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from hardware import describe_commit, describe_cpu
from PIL import Image, ImageFilter

import mambair_cli as mambair
from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.jobs import Job, plan_jobs
from mambair_cli.batches.stages import FileOptions
from mambair_cli.batches.work import Restore
from mambair_cli.imaging.files import read_image, write_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.restoration.device.scan_backend import prepare_kernels
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

RESULT = Path(__file__).parent / "results" / "batch_overlap.json"
CPU_SIDES = (96, 64)  # width and height of the network's inputs on a CPU
GPU_SIDES = (320, 180)  # of those whose 1280x720 results the stand-in makes
GPU_MILLISECONDS = (15, 60)


def make_images(folder: Path, count: int, sides: tuple[int, int]) -> None:
    """Writes blurred noise, which packs about as badly as photographs do."""
    for index in range(count):
        values = np.random.default_rng(index).integers(0, 256, (sides[1], sides[0], 3), np.uint8)
        blurred = Image.fromarray(values).filter(ImageFilter.GaussianBlur(1.5))
        blurred.save(folder / f"{index:03}.png")


def one_after_the_other(jobs: list[Job], restore: Restore) -> None:
    """What a loop over the files does."""
    for job in jobs:
        image = restore.image(read_image(job.source), lambda *_: None, lambda _: None)
        write_image(job.target, image)


def overlapped(io_threads: int) -> Callable[[list[Job], Restore], None]:
    """What `mambair` does."""

    def run(jobs: list[Job], restore: Restore) -> None:
        devices, files = {"device": restore}, FileOptions(scale=4)
        summary = run_batch(jobs, devices, lambda _: None, files=files, io_threads=io_threads)
        assert len(summary.done) == len(jobs)  # noqa: S101

    return run


def compare(
    count: int, sides: tuple[int, int], restore: Restore, io_threads: int, rounds: int
) -> dict[str, object]:
    """Runs both ways in turn and returns the seconds of each image and the ratio."""
    ways = {"one_after_the_other": one_after_the_other, "overlapped": overlapped(io_threads)}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    busy: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as scratch:
        (source := Path(scratch, "in")).mkdir()
        make_images(source, count, sides)
        for _ in range(rounds):
            for way, run in ways.items():
                jobs = plan_jobs(
                    [source],
                    output=Path(scratch, way),
                    suffix="",
                    format=None,
                    recursive=True,
                    overwrite=True,
                )
                start, work = time.perf_counter(), time.process_time()
                run(jobs, restore)
                taken[way].append((time.perf_counter() - start) / count)
                busy[way].append((time.process_time() - work) / count)
    return {
        "images": count,
        "io_threads": io_threads,
        **{f"{way}_seconds": round(statistics.median(t), 4) for way, t in taken.items()},
        "ratio": spread(taken),
        "processor_seconds_ratio": spread(busy),
    }


def spread(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median and extremes of the second way over the first, pair by pair."""
    first, second = seconds.values()
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    values = {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {name: round(value, 3) for name, value in values.items()}


def bundled_network() -> Restore:
    """The network that comes with the package, on the CPU."""
    model = mambair.load_model("mambair-tiny-sr-x4", "cpu")
    prepare_kernels(model.scan)
    options = RestoreOptions(precision=model.precision)

    def restore(image: RestorableImage, *callbacks: Callable[..., None]) -> RestorableImage:
        return restore_image(model.network, image, model.spec, options, *callbacks)

    return one_by_one(restore)


def stand_in(seconds: float) -> Restore:
    """Enlarges four times in a fixed time, most of it without any processor."""

    def restore(image: RestorableImage, *_: Callable[..., None]) -> RestorableImage:
        end = time.perf_counter() + seconds
        restored = replace(image, pixels=image.pixels.repeat(4, 0).repeat(4, 1))
        time.sleep(max(0.0, end - time.perf_counter()))
        return restored

    return one_by_one(restore)


def one_by_one(restore: Callable[..., RestorableImage]) -> Restore:
    """What restores the images of files, made of what restores one."""
    return Restore(lambda images, *told: [restore(image, *told) for image in images], in_bands)


def in_bands(*_: object) -> NoReturn:
    """None of these images is large."""
    raise AssertionError


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--skip-cpu", action="store_true")
    parser.add_argument("--skip-stand-in", action="store_true")
    arguments = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    load = os.getloadavg()[0]
    result |= {"commit": describe_commit(), "hardware": describe_cpu()}
    result["load_average_before"] = round(load, 1)
    if not arguments.skip_cpu:
        name = f"cpu_network_{CPU_SIDES[0]}x{CPU_SIDES[1]}"
        for threads in (0, 1):
            result[f"{name}_{threads}_threads_beside_it"] = compare(
                arguments.images, CPU_SIDES, bundled_network(), threads, arguments.rounds
            )
    if not arguments.skip_stand_in:
        processors = len(os.sched_getaffinity(0))
        for milliseconds in GPU_MILLISECONDS:
            result[f"stand_in_for_a_gpu_{milliseconds}_ms"] = compare(
                arguments.images,
                GPU_SIDES,
                stand_in(milliseconds / 1000),
                processors,
                arguments.rounds,
            )
    print(json.dumps(result, indent=1))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
