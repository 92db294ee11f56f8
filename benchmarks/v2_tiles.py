"""What tiles cost MambaIRv2, whose classes of pixels and prompts are found tile by tile.

    python benchmarks/v2_tiles.py --weights v2.safetensors --beside v1.safetensors \
        --references DIR --images DIR [--count 6] [--truth-only]

References, six side by side so that tiles of 256 are a part of them, are reduced 4 times and
enlarged again: PSNR of luma without a border of 4 pixels. Images are enlarged as they are: the
PSNR of each tiling against the whole image, in RGB. So is one of the light network at full size
with random weights. Tiles overlap as ever.
Writes benchmarks/results/v2_tiles.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe_commit, describe_cpu
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.evaluation.metrics import psnr, y_psnr
from mambair_cli.imaging import in_memory
from mambair_cli.networks import MambaIRv2Config, RestorationNetwork, build_network
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

RESULT = Path(__file__).parent / "results" / "v2_tiles.json"
SCALE = 4
TILES = (64, 128, 256)
Pixels = NDArray[np.uint8]


def prepared(path: Path) -> tuple[RestorationNetwork, ModelSpec]:
    """Load weights and choose their kernels."""
    model = load_checkpoint(path)
    network = model.network.eval().requires_grad_(False)
    set_scan_backend(network, "auto")
    return network, model.spec


def at_random() -> tuple[RestorationNetwork, ModelSpec]:
    """Build the published light network with random weights."""
    torch.manual_seed(0)
    network = build_network(MambaIRv2Config()).eval().requires_grad_(False)
    set_scan_backend(network, "auto")
    return network, ModelSpec("random", "sr", SCALE, 3)


def enlarged(model: tuple[RestorationNetwork, ModelSpec], image: Pixels, tile: int) -> Pixels:
    """Enlarge an image in tiles of a side, 0 for the whole image."""
    taken = in_memory.take(image)
    restored = restore_image(model[0], taken.image, model[1], RestoreOptions(tile=tile))
    return np.asarray(taken.given_back(restored))


def images_in(folder: Path, count: int) -> list[Pixels]:
    """Read the first images of a folder, sides cropped to multiples of the scale."""
    found = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    return [image[: image.shape[0] // SCALE * SCALE, : image.shape[1] // SCALE * SCALE]
            for image in found[:count]]  # fmt: skip


def side_by_side(images: Sequence[Pixels]) -> Pixels:
    """Lay images of one size out in two rows."""
    half = len(images) // 2
    return np.concatenate([np.concatenate(row, 1) for row in (images[:half], images[half:])])


def against_truth(
    model: tuple[RestorationNetwork, ModelSpec], reference: Pixels
) -> dict[str, float]:
    """Score a reference, reduced and enlarged again, by tile."""
    small = imresize(reference, 1 / SCALE)
    return {
        str(tile or "whole"): round(y_psnr(enlarged(model, small, tile), reference, SCALE), 3)
        for tile in (0, *TILES)
    }


def against_whole(
    model: tuple[RestorationNetwork, ModelSpec], images: Sequence[Pixels]
) -> dict[str, dict[str, float]]:
    """Compare each tiling with the whole image."""
    rows: dict[str, dict[str, float]] = {}
    wholes = [enlarged(model, image, 0) for image in images]
    for tile in TILES:
        pairs = [
            (enlarged(model, image, tile), whole)
            for image, whole in zip(images, wholes, strict=True)
        ]
        apart = [np.abs(one.astype(int) - whole) for one, whole in pairs]
        rows[str(tile)] = {
            "psnr": round(statistics.mean(psnr(one, whole) for one, whole in pairs), 2),
            "largest difference": max(int(each.max()) for each in apart),
            "share of values that differ": round(
                statistics.mean(float((each > 0).mean()) for each in apart), 4
            ),
        }
    return rows


def main() -> None:
    """Measures the networks and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--weights", type=Path, required=True, help="of MambaIRv2, x4")
    parser.add_argument("--beside", type=Path, required=True, help="of version 1, x4")
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6, help="references, an even number")
    parser.add_argument("--truth-only", action="store_true", help="keep what else was measured")
    arguments = parser.parse_args()
    references = images_in(arguments.references, arguments.count)
    reference = side_by_side(references)
    images = images_in(arguments.images, 2)
    result: dict[str, Any] = json.loads(RESULT.read_text()) if arguments.truth_only else {}
    result |= {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "references": f"{len(references)} of {arguments.references.name} as one picture, "
        f"{reference.shape[1]}x{reference.shape[0]} pixels",
        "images": f"{len(images)} of {arguments.images.name}, {images[0].shape[1]} pixels wide",
    }
    for name, path in (("MambaIRv2", arguments.weights), ("MambaIR", arguments.beside)):
        model, row = prepared(path), result.setdefault(name, {})
        row["against the truth"] = against_truth(model, reference)
        if not arguments.truth_only:
            row["against the whole image"] = against_whole(model, images)
        print(json.dumps({name: row}), flush=True)
    if not arguments.truth_only:
        part = [image[:256, :320] for image in images[:1]]
        result["MambaIRv2 light, random weights, 320x256"] = against_whole(at_random(), part)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
