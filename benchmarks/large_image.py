"""Restores images larger than a memory limit, and measures what that takes.

    python benchmarks/large_image.py [--cases 30000x1.png ...] [--limit-gib 4] [--result FILE]

A case is `SIDExSCALE.SUFFIX`: a square RGB PNG of that side, made here from top to bottom, is
enlarged by the scale and written as PNG or TIFF. A process of its own reads, restores and writes
it; the kernel refuses it more writable memory than the limit (RLIMIT_DATA, which counts memory that
is only reserved too), so it ends with an error or under the limit. A stand-in that inverts and
repeats pixels takes the network's place; tiles are planned as for the largest published network.
Afterwards every pixel of the result is compared with what it should be. Writes
benchmarks/results/large_image.json: commit, hardware, and for each case sizes in bytes, seconds,
and the process's peak of resident memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyvips

from mambair_cli.imaging.files import open_bands
from mambair_cli.imaging.image import ImageHeader, Pixels

RESULT = Path(__file__).parent / "results" / "large_image.json"
CASES = ("30000x1.png", "30000x1.tif", "9600x4.png", "9600x4.tif")
GIBIBYTE = 2**30
SIDES = (983, 1009)  # height and width of what the picture repeats
ROWS = 64  # compared at a time


def pattern() -> Pixels:
    """What the picture repeats: waves and grain. Its sides share no factor with those of tiles."""
    rows, columns = np.arange(SIDES[0])[:, None], np.arange(SIDES[1])
    waves = 110 + 60 * np.sin(columns / 97) * np.cos(rows / 61) + 50 * np.sin(rows / 203)
    grain = np.random.default_rng(0).integers(0, 12, (*SIDES, 3), np.uint8)
    return waves.astype(np.uint8)[..., None] + grain


def make(path: Path, side: int) -> None:
    """Writes the picture."""
    once = pyvips.Image.new_from_array(pattern())
    across, down = -(-side // SIDES[1]), -(-side // SIDES[0])
    whole = once.replicate(across, down).crop(0, 0, side, side)
    whole.pngsave(path, compression=1, filter="none")


def expected(side: int, scale: int, start: int, stop: int) -> Pixels:
    """Rows of the result that the stand-in makes of the picture."""
    rows = pattern()[np.arange(start, stop) // scale % SIDES[0]]
    return 255 - rows[:, np.arange(side * scale) // scale % SIDES[1]]


def restore(source: Path, target: Path, scale: int, limit: int) -> dict[str, float]:
    """Restores a file under a limit of this process's memory; returns what that took."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    import torch
    from torch.nn import functional

    from mambair_cli.imaging.files import write_bands
    from mambair_cli.networks.spec import ModelSpec
    from mambair_cli.restoration.streaming import RestoreOptions, memory_budget, needs_bands
    from mambair_cli.restoration.streaming import restore_bands as restore_bands_of

    class StandIn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parameter = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(1 - x, scale_factor=scale)

    start, options, notices = time.perf_counter(), RestoreOptions(), []
    with open_bands(source, max_pixels=0) as reader:
        if not needs_bands(reader.header, scale, memory_budget(options)):
            raise SystemExit(f"{source} fits in memory; choose a larger image")
        spec = ModelSpec("stand-in", "sr", scale, 3)
        header, bands = restore_bands_of(StandIn(), reader, spec, options, on_notice=notices.append)
        write_bands(target, header, bands, reader)
    return {
        "plan": notices[0],
        "seconds": round(time.perf_counter() - start, 1),
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def is_right(target: Path, side: int, scale: int) -> bool:
    """Whether every pixel of the result is the one that it should be."""
    with open_bands(target, max_pixels=0) as made:
        header = ImageHeader(side * scale, side * scale, 3, np.dtype(np.uint8), in_bands=True)
        return made.header == header and all(
            np.array_equal(made.read(top, stop).pixels, expected(side, scale, top, stop))
            for top in range(0, side * scale, ROWS)
            for stop in [min(top + ROWS, side * scale)]
        )


def run(case: str, limit: int, folder: Path) -> dict[str, object]:
    """Makes a case's picture, restores it in a process of its own, and compares."""
    side, scale, suffix = re.fullmatch(r"(\d+)x(\d+)(\.\w+)", case).groups()  # type: ignore[union-attr]
    source, target = folder / f"{side}.png", folder / f"result{suffix}"
    if not source.exists():
        make(source, int(side))
    command = [sys.executable, __file__, "--restore", str(source), str(target), scale, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{case}: exit status {done.returncode}\n{done.stderr}")
    measured = json.loads(done.stdout)
    pixels = int(side) ** 2
    result = {
        "input": f"{side}x{side} RGB, 8 bits, PNG",
        "scale": int(scale),
        "output": f"{suffix[1:]}{', BigTIFF' if is_bigtiff(target) else ''}",
        "input_pixels_bytes": 3 * pixels,
        "output_pixels_bytes": 3 * pixels * int(scale) ** 2,
        "output_file_bytes": target.stat().st_size,
        "limit_bytes": limit,
        **measured,
        "every_pixel_right": is_right(target, int(side), int(scale)),
    }
    target.unlink()
    return result


def is_bigtiff(path: Path) -> bool:
    """Whether a file begins as a BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II+\0", b"MM\0+")


def main() -> None:
    """Runs the cases and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SIDExSCALE.SUFFIX")
    parser.add_argument("--limit-gib", type=float, default=4)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--restore", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.restore:
        source, target, scale, limit = arguments.restore
        print(json.dumps(restore(Path(source), Path(target), int(scale), int(limit))))
        return
    from hardware import describe_commit, describe_cpu

    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "load_average_before": round(os.getloadavg()[0], 1),
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for case in arguments.cases:
            result[case] = run(case, int(arguments.limit_gib * GIBIBYTE), folder)
            print(json.dumps({case: result[case]}, indent=1), flush=True)
            arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {arguments.result}")


if __name__ == "__main__":
    main()
