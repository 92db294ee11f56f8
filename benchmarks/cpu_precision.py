"""What bf16, tiles and the self-ensemble change on a CPU: PSNR and time of bundled weights.

    python benchmarks/cpu_precision.py DIR [--model mambair-tiny-sr-x4]

DIR holds HR/NAME.png and LR_bicubic/X4/NAMEx4.png, as the benchmark sets do. PSNR and SSIM are
those of the paper: luma, without a border of `scale` pixels; a gray image counts as colour. Writes
benchmarks/results/cpu_precision.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu

import mambair_cli as mambair
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.evaluation.metrics import y_psnr, y_ssim
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

RESULT = Path(__file__).parent / "results" / "cpu_precision.json"
SETTINGS = {
    "fp32": RestoreOptions(precision="fp32"),
    "bf16": RestoreOptions(precision="bf16"),
    "fp32, tiles of 48": RestoreOptions(precision="fp32", tile=48),
    "fp32, self-ensemble": RestoreOptions(precision="fp32", ensemble=True),
}


def as_colour(image: RestorableImage) -> np.ndarray:
    """Pixels with three channels."""
    return np.repeat(image.pixels, 3 // image.pixels.shape[2], axis=2)


def main() -> None:
    """Restores the set in each setting and writes the scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", default="mambair-tiny-sr-x4")
    arguments = parser.parse_args()
    model = mambair.load_model(arguments.model, device="cpu")
    scale = model.spec.scale
    truths = sorted((arguments.directory / "HR").glob("*.png"))
    rows = {}
    for name, options in SETTINGS.items():
        psnrs, ssims, seconds = {}, {}, 0.0
        for path in truths:
            low = read_image(
                arguments.directory / f"LR_bicubic/X{scale}/{path.stem}x{scale}{path.suffix}"
            )
            truth = crop_to_multiple(as_colour(read_image(path)), scale)
            start = time.perf_counter()
            restored = as_colour(restore_image(model.network, low, model.spec, options))
            seconds += time.perf_counter() - start
            psnrs[path.stem] = round(y_psnr(restored, truth, border=scale), 4)
            ssims[path.stem] = round(y_ssim(restored, truth, border=scale), 4)
        rows[name] = {
            "psnr": round(float(np.mean(list(psnrs.values()))), 4),
            "ssim": round(float(np.mean(list(ssims.values()))), 4),
            "seconds": round(seconds, 2),
            "psnr_by_image": psnrs,
        }
        print(name, rows[name], flush=True)
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "model": arguments.model,
        "sha256": model.sha256,
        "set": arguments.directory.name,
        "settings": rows,
    }
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    known[arguments.directory.name] = result
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
