"""What `mambair dejpeg` gains and whether any picture loses: qualities, subsampling, odd files.

    python benchmarks/dejpeg_cells.py --sets /data/Kodak24 /data/McMaster [--crop 128] [--every 1]

Crops of each picture are saved by Pillow, read back and treated as the command treats files. RGB
PSNR against the original, result minus input; of each case the mean and the least. Other cases:
gray, progressive, turned by EXIF, cropped after decoding (PNG), saved twice. `--rows FILE` keeps
each figure, `--share 1/2` shares the work and `--kept` sums up, as in `fix.py`. Writes
`results/dejpeg_cells.json`; with `--only CMYK` it measures cases of that name, keeps the others.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fix import WHOLE, Commands, mixed
from hardware import describe_commit, describe_cpu
from PIL import Image
from rows import Row, Rows, shared, weights_of

from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage

RESULT = Path(__file__).parent / "results" / "dejpeg_cells.json"
QUALITIES = (5, 10, 15, 20, 30, 40, 50, 60, 70, 75, 80, 85, 88, 90, 92, 94, 95, 96, 98)
SUBSAMPLING = ("4:2:0", "4:4:4")
ODD_QUALITIES = (30, 75, 90)
TURNED = 6

Save = Callable[[Image.Image, Path], Image.Image]


def saved(picture: Image.Image, path: Path, quality: int, **options: Any) -> Image.Image:
    """Save as JPEG; returns the original that the file is measured against."""
    picture.save(path.with_suffix(".jpg"), "JPEG", quality=quality, **options)
    return picture


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    """Compress and decode."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def turned(picture: Image.Image, path: Path, quality: int) -> Image.Image:
    """Write a file that EXIF has turned upright."""
    exif = Image.Exif()
    exif[0x0112] = TURNED
    stored = picture.transpose(Image.Transpose.ROTATE_90)
    return _then(picture, saved(stored, path, quality, exif=exif))


def cropped(picture: Image.Image, path: Path, quality: int) -> Image.Image:
    """Write a PNG whose blocks begin elsewhere."""
    box = (5, 3, *picture.size)
    compressed(picture, quality).crop(box).save(path.with_suffix(".png"))
    return picture.crop(box)


def twice(picture: Image.Image, path: Path, quality: int) -> Image.Image:
    """Write a file that was compressed more before."""
    return _then(picture, saved(compressed(picture, quality), path, 96))


def twice_shifted(picture: Image.Image, path: Path, quality: int) -> Image.Image:
    """Write one that was also cropped in between."""
    box = (5, 3, *picture.size)
    return _then(picture.crop(box), saved(compressed(picture, quality).crop(box), path, 96))


def _then(picture: Image.Image, _: Image.Image) -> Image.Image:
    return picture


def cases() -> Iterator[tuple[str, Save]]:
    """Names of cases, and what writes a file of each."""
    for subsampling in SUBSAMPLING:
        for quality in QUALITIES:
            yield (
                f"{subsampling} q{quality}",
                lambda picture, path, q=quality, s=subsampling: saved(
                    picture, path, q, subsampling=s
                ),
            )
    for quality in ODD_QUALITIES:
        yield (
            f"gray q{quality}",
            lambda picture, path, q=quality: saved(picture.convert("L"), path, q),
        )
        yield (
            f"progressive 4:2:2 q{quality}",
            lambda picture, path, q=quality: saved(
                picture, path, q, subsampling="4:2:2", progressive=True
            ),
        )
        yield (
            f"CMYK q{quality}",
            lambda picture, path, q=quality: _then(
                picture, saved(picture.convert("CMYK"), path, q)
            ),
        )
        for name, write in (
            ("turned", turned),
            ("PNG of a cropped JPEG", cropped),
            ("saved again at 96", twice),
            ("cropped and saved again at 96", twice_shifted),
        ):
            yield (
                f"{name} q{quality}",
                lambda picture, path, w=write, q=quality: w(picture, path, q),
            )


def psnr(image: RestorableImage, original: Image.Image) -> float:
    """Measure over all values."""
    values = image.pixels[..., 0] if original.mode == "L" else image.pixels
    error = np.mean((values.astype(np.float64) - np.asarray(original)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def measured(picture: Image.Image, write: Save, commands: Commands) -> float | None:
    """Save, restore, and return what that gains; None where no blocks are found."""
    with tempfile.TemporaryDirectory() as folder:
        original = write(picture, Path(folder, "made"))
        image = read_image(next(Path(folder).iterdir()))
    try:
        pixels = commands.run(Request("dejpeg", variant="tiny"), image, lambda _: None)
    except ImageError:
        return None
    return psnr(replace(image, pixels=pixels), original) - psnr(image, original)


def cropped_to(picture: Image.Image, side: int) -> Image.Image:
    """Cut out the middle; 0: all."""
    if not side:
        return picture
    left, top = ((whole - side) // 2 for whole in picture.size)
    return picture.crop((left, top, left + side, top + side - 8))


def told(rows: Iterable[Row]) -> dict[str, Any]:
    """Sum up one case."""
    every = [row.gain for row in rows]
    gains = [gain for gain in every if gain is not None]
    counted = {"blocks_not_found": len(every) - len(gains), "pictures": len(every)}
    if not gains:
        return counted
    return {
        "mean": round(float(np.mean(gains)), 3),
        "least": round(min(gains), 3),
        "worse_by_more_than_0.01": sum(gain < -0.01 for gain in gains),
    } | counted


def main() -> None:
    """Measure all cases of all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=Path, nargs="+", required=True)
    parser.add_argument("--crop", type=int, default=125, help="side of the crops; 0: whole")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth picture")
    parser.add_argument("--only", nargs="+", default=[], help="measure cases that begin like one")
    parser.add_argument("--share", default=WHOLE, metavar="I/N")
    parser.add_argument("--kept", action="store_true", help="measure nothing, sum up the rows")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commands, rows = Commands(), Rows(arguments.rows)
    files = mixed(arguments.sets)[:: arguments.every]
    chosen = {
        name: write
        for name, write in cases()
        if not arguments.only or name.startswith(tuple(arguments.only))
    }
    by = f"dejpeg, crop {arguments.crop}"
    names = {f"{source.parent.name} {source.stem}": source for source in files}
    for index, (label, source) in enumerate(names.items()):
        if arguments.kept or not shared(index, arguments.share):
            continue
        picture = cropped_to(Image.open(source).convert("RGB"), arguments.crop)
        for name, write in chosen.items():
            if (label, name, by) not in rows:
                commands.used.clear()
                gain = measured(picture, write, commands)
                rows.add(Row(label, name, by, gain, weights=dict(commands.used)))
    if arguments.share != WHOLE:
        return
    found = {
        name: each
        for name in chosen
        if (each := [row for label in names for row in rows.of(label, name) if row.by == by])
    }
    others = arguments.only and arguments.output.is_file()
    before = json.loads(arguments.output.read_text())["gain_in_db"] if others else {}
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "crop": arguments.crop,
        "weights": weights_of(row for each in found.values() for row in each),
        "gain_in_db": before | {name: told(each) for name, each in found.items()},
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
