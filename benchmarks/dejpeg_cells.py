"""What `mambair dejpeg` gains and whether any picture loses: qualities, subsampling, odd files.

    python benchmarks/dejpeg_cells.py --sets /data/Kodak24 /data/McMaster [--crop 128] [--every 1]

Crops of each picture are saved by Pillow, read back and treated as the command treats files. RGB
PSNR against the original, result minus input; of each case the mean and the least. Other cases:
gray, progressive, turned by EXIF, cropped after decoding (PNG), saved twice. Writes
`results/dejpeg_cells.json`; with `--only CMYK` it measures cases of that name, keeps the others.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from PIL import Image

from mambair_cli.batches.models import LocalWeights, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.checkpoints.catalogue import bundled_directory
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing

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


def main() -> None:
    """Measure all cases of all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=Path, nargs="+", required=True)
    parser.add_argument("--crop", type=int, default=125, help="side of the crops; 0: whole")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth picture")
    parser.add_argument("--only", default="", help="measure cases whose name begins like this")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    def weights_of(request: Request) -> LocalWeights:
        rows = [request.choose("cpu").entry, *request.choose("cpu").stand_ins]
        name = next(entry.bundled for entry in rows if entry.bundled)
        return LocalWeights(bundled_directory() / name)

    models = ModelCache(Request("dejpeg"), Compute.resolve("cpu", "fp32", "auto"), weights_of)
    restore = restorer_with(models, RestoreOptions(tile=0), Sizing())
    gains: dict[str, list[float]] = defaultdict(list)
    unknown: dict[str, int] = defaultdict(int)
    files = [path for folder in arguments.sets for path in sorted(folder.glob("*.png"))]
    with tempfile.TemporaryDirectory() as folder:
        for index, source in enumerate(files[:: arguments.every]):
            picture = Image.open(source).convert("RGB")
            if arguments.crop:
                left, top = ((side - arguments.crop) // 2 for side in picture.size)
                picture = picture.crop((left, top, left + arguments.crop, top + arguments.crop - 8))
            for name, write in cases():
                if not name.startswith(arguments.only):
                    continue
                path = Path(folder) / f"{index}"
                original = write(picture, path)
                (made,) = Path(folder).iterdir()
                image = read_image(made)
                made.unlink()
                try:
                    restored = restore.image(image, lambda *_: None, lambda _: None)
                except ImageError:
                    unknown[name] += 1
                    continue
                gains[name].append(psnr(restored, original) - psnr(image, original))
    before = json.loads(arguments.output.read_text())["gain_in_db"] if arguments.only else {}
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "pictures": len(files[:: arguments.every]),
        "crop": arguments.crop,
        "gain_in_db": before
        | {
            name: {
                "mean": round(float(np.mean(each)), 3),
                "least": round(min(each), 3),
                "worse_by_more_than_0.01": sum(gain < -0.01 for gain in each),
                "blocks_not_found": unknown[name],
            }
            for name, each in gains.items()
        },
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
