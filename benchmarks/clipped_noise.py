"""What clipping costs the denoisers: noise as the papers measure it, and as files hold it.

    python benchmarks/clipped_noise.py --set /data/CBSD68 [--every 1] [--weights FILE]...

The same noise, that of the published scores, is given to the bundled weights as it is, and clipped
and rounded to 8 bits. RGB PSNR, the mean over the pictures. `--weights` measures others, each at
the level that it was trained for. Writes benchmarks/results/clipped_noise.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from PIL import Image

import mambair_cli as mambair
from mambair_cli.evaluation.degrade import add_benchmark_noise
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.writing.depth import to_8_bits

RESULT = Path(__file__).parent / "results" / "clipped_noise.json"
BUNDLED = tuple(f"mambair-tiny-denoise-s{sigma}" for sigma in (15, 25, 50))


def main() -> None:
    """Restore each picture with both kinds of noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", type=Path, required=True, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth picture")
    parser.add_argument("--weights", action="append", default=[], metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(arguments.set.glob("*.png"))[:: arguments.every]
    truths = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    rows: dict[str, dict[str, float]] = {}
    for name in arguments.weights or BUNDLED:
        model = mambair.load_model(name, device="cpu")
        scores: dict[str, list[float]] = {"as it is": [], "clipped": []}
        for truth in truths:
            noisy = add_benchmark_noise(truth, float(model.spec.sigma or 0))
            for kind, image in (("as it is", noisy), ("clipped", to_8_bits(noisy))):
                restored = to_8_bits(np.asarray(mambair.restore(image, model)))
                scores[kind].append(psnr(restored, truth, border=0))
        rows[str(name)] = {kind: round(fmean(each), 3) for kind, each in scores.items()}
        print(name, rows[str(name)], flush=True)
    content = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "set": arguments.set.name,
        "pictures": len(files),
        "psnr_rgb": rows,
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
