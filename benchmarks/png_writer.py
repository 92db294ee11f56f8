"""What the PNG writer takes and needs, beside the one of an earlier checkout and Pillow's.

    python benchmarks/png_writer.py --former CHECKOUT [--rounds 5]

Photographs that ship with scikit-image (public domain or CC0), as they are and enlarged, which is
what this package writes most; 8 bits, and 16 bits, which Pillow cannot write in colour. Every
writer uses deflate level 6 and chooses a filter for each row; they take turns in processes of their
own, and seconds are those of the processor. Memory is what writing an image in bands adds to a
process, at its peak (Linux only). Writes `results/png_writer.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import pyvips
from former import measure_in_turns
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image
from skimage import data

HERE = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "png_writer.json"
IMAGES = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field")
SCALE = 2
BAND_ROWS = 256

Pixels = NDArray[np.unsignedinteger]


OURS = "from mambair_cli.imaging.writing.png import write_png"
FORMER = "from mambair_cli.imaging.png_writer import write_png"
WRITE = """
from mambair_cli.imaging.image import ImageHeader
def write(file, pixels):
    height, width, channels = pixels.shape
    write_png(file, ImageHeader(width, height, channels, pixels.dtype), [pixels])
"""
# Pillow has 8 bits only.
PILLOW = """
from PIL import Image
def write(file, pixels):
    Image.fromarray(pixels.squeeze()).save(file, "PNG", compress_level=6)
"""


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
    large = Image.fromarray(data.astronaut()).resize((3000, 2000), Image.BICUBIC)
    yield "astronaut_3000x2000_8_bits", np.asarray(large)
    noise = np.random.default_rng(0).integers(-64, 65, (2000, 3000, 3))
    deep = np.clip(np.asarray(large).astype(np.int64) * 257 + noise, 0, 65535)
    yield "astronaut_3000x2000_16_bits", deep.astype(np.uint16)


def compare(pixels: Pixels, former: Path, rounds: int) -> dict[str, object]:
    """Processor seconds and bytes of each writer, and ours over theirs."""
    programs = {"ours": OURS + WRITE, "former": FORMER + WRITE}
    if pixels.dtype == np.uint8:
        programs["pillow"] = PILLOW
    measured = measure_in_turns(programs, former, pixels, rounds)
    seconds, content = measured["ours"]
    shown = pyvips.Image.new_from_buffer(content, "").numpy()
    if not np.array_equal(shown.reshape(pixels.shape), pixels):
        raise AssertionError("the file does not hold the pixels")
    result: dict[str, object] = {
        name: {"processor_seconds": busy, "bytes": len(file)}
        for name, (busy, file) in measured.items()
    }
    for name in sorted(measured.keys() - {"ours"}):
        busy, file = measured[name]
        result[f"ours_over_{name}"] = {
            "processor_seconds": round(seconds / busy, 3),
            "bytes": round(len(content) / len(file), 3),
        }
    return result


BANDS = f"""
import numpy as np
from pathlib import Path
from skimage import data
from mambair_cli.imaging.image import ImageHeader

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

def bands(side, tile):
    for start in range(0, side, {BAND_ROWS}):
        first = start % tile.shape[0]
        yield tile[first : first + min({BAND_ROWS}, side - start)]

def write_bands(side, dtype):
    tile = data.astronaut()
    tile = np.tile(tile, (1, side // tile.shape[1] + 1, 1))[:, :side].astype(dtype)
    with open("/dev/null", "wb") as file:
        header = ImageHeader(side, side, 3, tile.dtype)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = status("VmRSS")
        write_png(file, header, bands(side, tile))
    print(status("VmHWM") - before)

write_bands(64, "uint8")
write_bands(SIDE, "DTYPE")
"""


def memory_of_bands(program: str, checkout: Path, side: int, dtype: str) -> int:
    """KiB that writing a large image in bands, to nowhere, adds to a process."""
    code = program + BANDS.replace("SIDE", str(side)).replace("DTYPE", dtype)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1])


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--former", type=Path, required=True, help="checkout of 014fd4c")
    arguments = parser.parse_args()
    result: dict[str, object] = {"commit": describe_commit(), "hardware": describe_cpu()}
    result["versions"] = {"pillow": PIL.__version__, "pyvips": pyvips.__version__}
    result["libvips"] = ".".join(str(pyvips.version(part)) for part in range(3))
    result["load_average_before"] = round(os.getloadavg()[0], 1)
    result["rounds"] = arguments.rounds
    for name, pixels in cases():
        result[name] = compare(pixels, arguments.former, arguments.rounds)
        print(name, json.dumps(result[name]))
    if Path("/proc/self/clear_refs").exists():
        for side, dtype in ((6000, "uint8"), (6000, "uint16"), (12000, "uint8")):
            result[f"bands_of_{BAND_ROWS}_rows_{side}x{side}_{dtype}"] = {
                "ours_added_kib": memory_of_bands(OURS, HERE, side, dtype),
                "former_added_kib": memory_of_bands(FORMER, arguments.former, side, dtype),
            }
    result["load_average_after"] = round(os.getloadavg()[0], 1)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
