"""Times PNG files of our own writer against Pillow's and libvips', and compares their sizes.

    python benchmarks/png_writer.py [--rounds 9]

Photographs that ship with scikit-image (public domain or CC0), as they are and enlarged, which is
what this package writes most; 8 bits, and 16 bits, which Pillow cannot write in colour. Every
writer uses deflate level 6 and chooses a filter for each row; they take turns, and ratios are taken
round by round, of elapsed seconds and of those of all processors together. Memory is what writing
12000x12000 pixels in bands adds to a process, at its peak (Linux only). Writes
benchmarks/results/png_writer.json: commit, hardware, load, versions, medians, ratios.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
import pyvips
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from mambair_cli.imaging.image import ImageHeader
from mambair_cli.imaging.writing.png import write_png

RESULT = Path(__file__).parent / "results" / "png_writer.json"
IMAGES = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field")
SCALE = 2
LARGE_SIDE = 12000
BAND_ROWS = 256

Pixels = NDArray[np.unsignedinteger]
Writer = Callable[[Pixels], bytes]


def ours(pixels: Pixels) -> bytes:
    """This package."""
    file = io.BytesIO()
    height, width, channels = pixels.shape
    write_png(file, ImageHeader(width, height, channels, pixels.dtype), [pixels])
    return file.getvalue()


def pillow(pixels: Pixels) -> bytes:
    """Pillow, which has 8 bits only."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG", compress_level=6)
    return file.getvalue()


def libvips(pixels: Pixels) -> bytes:
    """libvips, told to choose among all filters."""
    interpretation = {
        (np.dtype(np.uint8), 1): "b-w",
        (np.dtype(np.uint8), 3): "srgb",
        (np.dtype(np.uint16), 1): "grey16",
        (np.dtype(np.uint16), 3): "rgb16",
    }[pixels.dtype, pixels.shape[2]]
    image = pyvips.Image.new_from_array(pixels, interpretation=interpretation)
    content: bytes = image.pngsave_buffer(compression=6, filter="all")
    return content


def cases() -> Iterator[tuple[str, Pixels]]:
    """Names and `(h w c)` pixels."""
    for name in IMAGES:
        pixels = getattr(data, name)()
        height, width = pixels.shape[:2]
        large = Image.fromarray(pixels).resize((SCALE * width, SCALE * height), Image.BICUBIC)
        enlarged = np.asarray(large)
        channels = 1 if pixels.ndim == 2 else 3
        yield f"{name}_8_bits", pixels.reshape(height, width, channels)
        enlarged = enlarged.reshape(SCALE * height, SCALE * width, channels)
        yield f"{name}_x{SCALE}_8_bits", enlarged
        # As a network gives it: noise of less than an 8-bit step in the lower byte.
        noise = np.random.default_rng(0).integers(-64, 65, enlarged.shape)
        deep = np.clip(enlarged.astype(np.int64) * 257 + noise, 0, 65535)
        yield f"{name}_x{SCALE}_16_bits", deep.astype(np.uint16)


def compare(pixels: Pixels, rounds: int) -> dict[str, object]:
    """Seconds and bytes of each writer, and ours over theirs."""
    writers: dict[str, Writer] = {"ours": ours, "libvips": libvips}
    if pixels.dtype == np.uint8:
        writers["pillow"] = pillow
    seconds: dict[str, list[float]] = {name: [] for name in writers}
    busy: dict[str, list[float]] = {name: [] for name in writers}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for name, write in writers.items():
            start, work = time.perf_counter(), time.process_time()
            sizes[name] = len(write(pixels))
            seconds[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - work)
    result: dict[str, object] = {
        name: {
            "seconds": round(statistics.median(seconds[name]), 4),
            "processor_seconds": round(statistics.median(busy[name]), 4),
            "bytes": sizes[name],
        }
        for name in writers
    }
    for name in sorted(writers.keys() - {"ours"}):
        result[f"ours_over_{name}"] = {
            "seconds": median_ratio(seconds["ours"], seconds[name]),
            "processor_seconds": median_ratio(busy["ours"], busy[name]),
            "bytes": round(sizes["ours"] / sizes[name], 3),
        }
    return result


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios of pairs."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def memory_of_bands() -> dict[str, int]:
    """Writes a large image in bands to nowhere; returns the memory that this took."""
    tile = np.asarray(data.astronaut())
    columns = np.tile(tile, (1, LARGE_SIDE // tile.shape[1] + 1, 1))[:, :LARGE_SIDE]

    def bands() -> Iterator[Pixels]:
        for start in range(0, LARGE_SIDE, BAND_ROWS):
            first = start % tile.shape[0]
            yield columns[first : first + min(BAND_ROWS, LARGE_SIDE - start)]

    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = status("VmRSS")
    with open(os.devnull, "wb") as file:  # noqa: PTH123
        write_png(file, ImageHeader(LARGE_SIDE, LARGE_SIDE, 3, columns.dtype), bands())
    return {"threads": min(8, os.cpu_count() or 1), "added_kib": status("VmHWM") - before}


def status(field: str) -> int:
    """A figure of this process in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    result: dict[str, object] = {"commit": describe_commit(), "hardware": describe_cpu()}
    result["versions"] = {"pillow": PIL.__version__, "pyvips": pyvips.__version__}
    result["libvips"] = ".".join(str(pyvips.version(part)) for part in range(3))
    result["load_average_before"] = round(os.getloadavg()[0], 1)
    result["rounds"] = arguments.rounds
    for name, pixels in cases():
        result[name] = compare(pixels, arguments.rounds)
        print(name, json.dumps(result[name]))
    if Path("/proc/self/clear_refs").exists():
        result[f"bands_of_{BAND_ROWS}_rows_{LARGE_SIDE}x{LARGE_SIDE}"] = memory_of_bands()
    result["load_average_after"] = round(os.getloadavg()[0], 1)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
