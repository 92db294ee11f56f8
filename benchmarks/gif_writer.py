"""What the GIF writer takes, loses and needs, beside the one of an earlier checkout.

    python benchmarks/gif_writer.py --former CHECKOUT [--rounds 5]

Both write the same frames in turns, each in a process of its own; seconds are those of the
processor. The error is that of colours where frames are opaque, read back by Pillow. Writes
`results/gif_writer.json`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from former import measure_in_turns
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image
from skimage import data

RESULT = Path(__file__).parent / "results" / "gif_writer.json"
DURATIONS = (40, 100, 30, 70, 20)
LOOPS = 3

FORMER = "from mambair_cli.imaging.gif_writer import write_gif"
OURS = "from mambair_cli.imaging.writing.gif import write_gif"
WRITE = f"""
from mambair_cli.imaging.image import Timing
def write(file, frames):
    timing = Timing({DURATIONS}, loops={LOOPS}) if len(frames) > 1 else None
    write_gif(file, list(frames), timing, b"a comment")
"""

Frames = NDArray[np.uint8]


def cases() -> Iterator[tuple[str, Frames]]:
    """Names and `(n h w s)` frames."""
    photo = data.astronaut()
    yield "photo", photo[None]
    yield "gray_photo", photo[None, ..., :1]
    moving = np.stack([np.roll(photo, shift, axis=1) for shift in (0, 9, 9, 20, 30)])
    yield "photo_5_frames", moving
    sums = np.add.outer(np.arange(512), np.arange(512))
    shapes = np.stack([(sums + 50 * index) % 256 < 150 for index in range(5)])
    yield "photo_5_frames_alpha", np.concatenate([moving, shapes[..., None] * np.uint8(255)], 3)
    flat = np.full((5, 300, 400, 3), 40, np.uint8)
    for index, frame in enumerate(flat):
        frame[50:90, 20 + 30 * index : 60 + 30 * index] = 200, 10, 20 * index
    yield "flat_5_frames", flat


def quality(content: bytes, frames: Frames) -> dict[str, object]:
    """Bytes, and what is read back of frames that were written."""
    has_alpha = frames.shape[3] == 4
    squares, same_alpha = [], True
    with Image.open(io.BytesIO(content)) as image:
        count, durations = image.n_frames, []
        loops, comment = image.info.get("loop"), image.info.get("comment")
        for index in range(count):
            image.seek(index)
            durations.append(image.info.get("duration"))
            shown = np.asarray(image.convert("RGBA")).astype(float)
            opaque = frames[index, ..., 3] == 255 if has_alpha else np.ones(shown.shape[:2], bool)
            same_alpha &= bool(np.array_equal(shown[..., 3] == 255, opaque))
            errors = shown[..., :3] - frames[index, ..., : 3 if has_alpha else None]
            squares.append(np.square(errors[opaque]).mean())
    right = count == len(frames) and (count == 1 or durations == list(DURATIONS))
    return {
        "bytes": len(content),
        "rms_of_255": round(float(np.mean(squares)) ** 0.5, 3),
        "frames_and_durations_right": right,
        "alpha_right": same_alpha,
        "repeats": loops,
        "comment_right": comment == b"a comment",
    }


def main() -> None:
    """Run the comparison and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--former", type=Path, required=True, help="checkout of 014fd4c")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"commit": describe_commit(), "hardware": describe_cpu()}
    result["libvips"] = ".".join(str(pyvips.version(part)) for part in range(3))
    result["load_average_before"] = round(os.getloadavg()[0], 1)
    result["rounds"] = arguments.rounds
    for name, frames in cases():
        programs = {"ours": OURS + WRITE, "former": FORMER + WRITE}
        measured = measure_in_turns(programs, arguments.former, frames, arguments.rounds)
        result[name] = {
            writer: {"processor_seconds": seconds, **quality(content, frames)}
            for writer, (seconds, content) in measured.items()
        }
        print(name, json.dumps(result[name]))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
