"""Measures whether memory stays flat over a batch: resident memory after each of its images.

    python benchmarks/batch_memory.py [--images 500] [--long 1500] [--io-threads 0] [--result FILE]

Batches run as `mambair sr` runs them, with the bundled network on the CPU, each in a process of its
own. In `mixed` every image has another size and formats take turns; `long` is the same with more
images, `one_size` has the same formats in one size, and in `library_defaults` the libraries
keep as many kernels as they do unless `mambair` tells them otherwise. Writes
benchmarks/results/batch_memory.json: commit, hardware, and for each batch resident memory along it,
its growth after the first 100 images, in which kernels are loaded and allocators fill, the slope
over the last 300, and the peak.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu

import mambair_cli as mambair
from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.events import Event, FileDone
from mambair_cli.batches.jobs import plan_jobs
from mambair_cli.batches.stages import FileOptions
from mambair_cli.batches.work import OnNote, Restore
from mambair_cli.cli.main import ENVIRONMENT_DEFAULTS
from mambair_cli.imaging.files import write_image
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, Pixels, RestorableImage
from mambair_cli.restoration.device.scan_backend import prepare_kernels
from mambair_cli.restoration.memory.available import MEBIBYTE, resident_memory
from mambair_cli.restoration.restorer import Progress, RestoreOptions, restore_image
from mambair_cli.restoration.streaming import has_binary_alpha, restore_bands

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
SIDES = (24, 80)  # the least and the most
WARM_UP = 100
LAST = 300  # images that the slope is taken over
LIBRARY_DEFAULTS = {name: "1024" for name in ENVIRONMENT_DEFAULTS if name.endswith("CAPACITY")}


def all_sizes(count: int) -> list[tuple[int, int]]:
    """Heights and widths, no two the same, in a random order."""
    sizes = list(itertools.product(range(*SIDES), repeat=2))
    order = np.random.default_rng(0).permutation(len(sizes))[:count]
    return [sizes[index] for index in order]


def make_images(folder: Path, sizes: list[tuple[int, int]]) -> None:
    """Writes images of these sizes, of all kinds in turn."""
    generator = np.random.default_rng(0)
    for index, (size, kind) in enumerate(zip(sizes, itertools.cycle(KINDS), strict=False)):
        suffix, dtype, channels = kind
        values = generator.random((*size, channels))
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

    def images(
        sources: Sequence[RestorableImage], on_progress: Progress, on_note: OnNote
    ) -> list[RestorableImage]:
        callbacks = (on_progress, on_note)
        return [
            restore_image(model.network, source, model.spec, options, *callbacks)
            for source in sources
        ]

    def bands(
        reader: BandReader,
        look: Callable[[], BandReader],
        on_progress: Progress,
        on_note: OnNote,
    ) -> tuple[ImageHeader, Iterator[Band]]:
        callbacks, binary_alpha = (on_progress, on_note), has_binary_alpha(look())
        return restore_bands(
            model.network, reader, model.spec, options, *callbacks, binary_alpha=binary_alpha
        )

    return Restore(images, bands)


def resident_along_a_batch(
    source: Path, environment: dict[str, str], io_threads: int
) -> tuple[list[int], int]:
    """Bytes of resident memory after each image, and at the peak; for a process of its own."""
    os.environ.update(environment)
    taken: list[int] = []

    def on_event(event: Event) -> None:
        if isinstance(event, FileDone):
            taken.append(resident_memory())

    jobs = plan_jobs(
        [source],
        output=source.with_name("out"),
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
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    return taken, peak


def measure(
    sizes: list[tuple[int, int]], environment: dict[str, str], io_threads: int
) -> dict[str, object]:
    """Runs a batch in a new process and sums up its memory in MiB."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process,
    ):
        (source := Path(scratch, "in")).mkdir()
        make_images(source, sizes)
        arguments = source, environment, io_threads
        taken, peak = process.submit(resident_along_a_batch, *arguments).result()
    resident = [value / MEBIBYTE for value in taken]
    last = resident[-LAST:]
    return {
        "images": len(resident),
        "resident_mebibytes": {
            str(done): round(resident[done - 1], 1) for done in range(100, len(resident) + 1, 100)
        },
        "growth_after_warm_up_mebibytes": round(resident[-1] - resident[WARM_UP - 1], 1),
        "largest_growth_after_warm_up_mebibytes": round(
            max(resident[WARM_UP:]) - resident[WARM_UP - 1], 1
        ),
        "slope_over_the_last_kibibytes_for_each_image": round(
            statistics.linear_regression(range(len(last)), last).slope * 1024, 2
        ),
        "peak_mebibytes": round(peak / MEBIBYTE, 1),
    }


def main() -> None:
    """Runs the batches and writes the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--long", type=int, default=1500)
    parser.add_argument("--io-threads", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    mixed = all_sizes(max(arguments.images, arguments.long))
    some = mixed[: arguments.images]
    one_size = [(SIDES[1] - 1, SIDES[1] - 2)] * arguments.images
    batches = {
        "mixed": (some, ENVIRONMENT_DEFAULTS),
        "one_size": (one_size, ENVIRONMENT_DEFAULTS),
        "library_defaults": (some, LIBRARY_DEFAULTS),
        "long": (mixed[: arguments.long], ENVIRONMENT_DEFAULTS),
    }
    result: dict[str, object] = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "kinds": [f"{suffix[1:]} {np.dtype(d).name} x{c}" for suffix, d, c in KINDS],
        "sides": SIDES,
        "io_threads": arguments.io_threads,
        "environment": ENVIRONMENT_DEFAULTS,
        "warm_up_images": WARM_UP,
        "last_images": LAST,
    }
    for name, (sizes, environment) in batches.items():
        result[name] = measure(sizes, environment, arguments.io_threads)
        print(json.dumps({name: result[name]}, indent=1), flush=True)
        arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {arguments.result}")


if __name__ == "__main__":
    main()
