"""Make the strips of README.md: what a task is given, what mambair makes of it, and the original.

The originals ship with scikit-image and are CC0: "Chelsea", the cat, by Stefan van der Walt, and a
coffee cup by Rachel Michetti. Every middle picture is written by the command in its caption, with
the bundled weights. Run from anywhere: `python examples/make_strips.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

EXAMPLES = Path(__file__).parent
STRIPS = EXAMPLES.parent / "docs" / "images"
PANEL = (296, 222)  # width, height
GAP = 6
CAPTION = 24
CUP = (140, 10, 460, 250)  # the part of the photograph that make_inputs.py takes


class Strip(NamedTuple):
    """One task on one picture; `corner` and `zoom` say which part of the original is shown."""

    name: str
    caption: str
    command: tuple[str, ...]
    original: Image.Image
    corner: tuple[int, int]
    zoom: int


def part(image: Image.Image, strip: Strip) -> Image.Image:
    """Cut what a panel shows and repeat its pixels `zoom` times."""
    left, top = strip.corner
    width, height = (side // strip.zoom for side in PANEL)
    cut = image.convert("RGB").crop((left, top, left + width, top + height))
    return cut.resize(PANEL, Image.Resampling.NEAREST)


def draw(strip: Strip, source: Path, result: Path) -> Image.Image:
    """Lay input, result and original side by side, each above its caption."""
    given = Image.open(source)
    if given.size != strip.original.size:
        given = given.resize(strip.original.size, Image.Resampling.BICUBIC)
    panels = [
        (given, strip.caption),
        (Image.open(result), f"mambair {' '.join(strip.command)}"),
        (strip.original, "original"),
    ]
    width, height = PANEL
    sheet = Image.new("RGB", (3 * width + 2 * GAP, height + CAPTION), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (image, caption) in enumerate(panels):
        left = place * (width + GAP)
        sheet.paste(part(image, strip), (left, 0))
        middle = (left + width // 2, height + CAPTION // 2)
        pen.text(middle, caption, fill="black", font=font, anchor="mm")
    return sheet


def restore(strip: Strip, source: Path, result: Path) -> None:
    """Run the command of the strip, with the bundled weights."""
    command = [sys.executable, "-m", "mambair_cli", *strip.command, "--model", "tiny"]
    subprocess.run([*command, str(source), "-o", str(result)], check=True)  # noqa: S603


def main() -> None:
    """Write one strip for each task that has bundled weights."""
    cat = Image.fromarray(data.chelsea())
    cat = cat.crop((0, 0, cat.width // 4 * 4, cat.height))
    cup = Image.fromarray(data.coffee()).crop(CUP)
    strips = {
        "quarter.png": Strip(
            "sr", "a quarter of the size, bicubic", ("sr", "--scale", "4"), cat, (90, 60), 1
        ),
        "cup_noisy.png": Strip(
            "denoise", "noise, sigma 25", ("denoise", "--sigma", "25"), cup, (12, 14), 1
        ),
        "cup_q10.jpg": Strip("dejpeg", "JPEG, quality 10", ("dejpeg",), cup, (160, 100), 2),
        "posted.jpg": Strip("fix", "noise, then JPEG of quality 40", ("fix",), cat, (110, 60), 2),
    }
    with TemporaryDirectory() as folder:
        quarter = (cat.width // 4, cat.height // 4)
        cat.resize(quarter, Image.Resampling.BICUBIC).save(Path(folder) / "quarter.png")
        noise = np.random.default_rng(1).normal(0, 6, (cat.height, cat.width, 3))
        noisy = Image.fromarray(np.clip(np.asarray(cat) + noise, 0, 255).round().astype(np.uint8))
        noisy.save(Path(folder) / "posted.jpg", quality=40)
        for file, strip in strips.items():
            source = EXAMPLES / file
            if not source.exists():
                source = Path(folder) / file
            result = Path(folder) / f"{strip.name}_result.png"
            restore(strip, source, result)
            sheet = draw(strip, source, result)
            sheet.save(STRIPS / f"{strip.name}.webp", quality=90, method=6)


if __name__ == "__main__":
    main()
