"""How much of the change against noise is best kept: what chose the shares of `mambair fix`.

    python benchmarks/fix_shares.py --data /data/Kodak24 /data/McMaster [--every 3]

Files are made as for `fix.py`, their blocks are removed where there are any, and `denoise --real`
is blended in by several shares. RGB PSNR, result minus file, of each way and share: mean and worst.
Writes `results/fix_shares.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from fix import Commands, middle
from hardware import describe_commit, describe_cpu
from photograph_ways import WAYS, Pixels, Way, camera, noise
from PIL import Image

from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage

RESULT = Path(__file__).parent / "results" / "fix_shares.json"
CROP = (144, 176)
SHARES = (0.0, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
HARMED = {name: way for name, way in WAYS.items() if name != "undegraded"}
MORE = {
    "JPEG 97": Way(quality=97),
    "noise 4": Way(noise(4)),
    "noise 12": Way(noise(12)),
    "weak camera noise": Way(camera(2e-4)),
    "weak camera noise, JPEG 90": Way(camera(3e-4, 0.3), quality=90),
    "noise 5, JPEG 75": Way(noise(5), quality=75),
}


def main() -> None:
    """Measure all shares in all ways on all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--every", type=int, default=3, help="take every so-manieth picture")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commands = Commands()
    gains: dict[str, list[list[float]]] = defaultdict(list)
    pictures = [path for folder in arguments.data for path in sorted(folder.glob("*.png"))]
    for index, source in enumerate(pictures[:: arguments.every]):
        whole = middle(np.asarray(Image.open(source).convert("RGB")), CROP)
        for name, way in (HARMED | MORE).items():
            with tempfile.TemporaryDirectory() as folder:
                made = way.write(whole, Path(folder, "made"), np.random.default_rng(index))
                image = read_image(made)
            gains[name].append(by_share(commands, image, way.seen(whole)))
        content = {
            "commit": describe_commit(),
            "cpu": describe_cpu(),
            "crop": CROP,
            "pictures": index + 1,
            "shares": SHARES,
            "gain_in_db": {name: told(rows) for name, rows in gains.items()},
        }
        RESULT.write_text(json.dumps(content, indent=1) + "\n")


def by_share(commands: Commands, image: RestorableImage, truth: Pixels) -> list[float]:
    """Return the gain for each share of the change."""
    plain = commands.in_turn(("dejpeg",), image, None)
    start = image.pixels if plain is None else plain
    end = commands.in_turn(("denoise-real",), RestorableImage(start), None)
    assert end is not None  # noqa: S101 - that command measures nothing
    before, change = psnr(image.pixels, truth), end.astype(np.float64) - start
    return [psnr(start + share * change, truth) - before for share in SHARES]


def told(rows: list[list[float]]) -> dict[str, list[float]]:
    """As it is written: for each share."""
    shares = list(zip(*rows, strict=True))
    return {
        "mean": [round(fmean(each), 3) for each in shares],
        "worst": [round(min(each), 3) for each in shares],
    }


if __name__ == "__main__":
    main()
