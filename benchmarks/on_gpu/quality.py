"""What number formats change in restored images, by the bundled weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.evaluation.degrade import crop_to_multiple, downscale
from mambair_cli.evaluation.metrics import y_psnr
from mambair_cli.pixels.tensors import to_pixels, to_tensor
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from on_gpu import ROOT
from on_gpu.measure import computing, prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mambair_cli.checkpoints.load import LoadedModel
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

MODEL = "mambair-tiny-sr-x4"
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")
SUFFIXES = (".png", ".bmp", ".jpg")
COMPARED = ("bf16", "fp16", "tf32")


def truths(directory: Path | None) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """High-resolution images with the names of their set and their own.

    Those of a folder, or of its folders, each a set; default: the samples of scikit-image. They are
    read by Pillow: the benchmark asks for no more than PyTorch's usual company.
    """
    if directory is None:
        from skimage import data

        yield from (("samples", name, getattr(data, name)()) for name in SAMPLES)
        return
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() in SUFFIXES and "LR" not in str(path.relative_to(directory)):
            name = path.relative_to(directory).parts[0] if path.parent != directory else "images"
            with Image.open(path) as image:
                yield name, path.stem, np.asarray(image.convert("RGB"))


def bundled() -> LoadedModel:
    """A network with weights that come with the package, whatever is missing of the rest."""
    entry = catalogue.find(MODEL)
    return load_checkpoint(ROOT / "weights" / str(entry.bundled))


def scores(model: LoadedModel, pixels: NDArray[np.uint8], settings: Settings) -> dict[str, float]:
    """PSNR of one image in every format, in dB."""
    scale = model.spec.scale
    truth = crop_to_multiple(pixels[:64, :80] if settings.quick else pixels, scale)
    low = to_tensor(downscale(truth, scale)).to(settings.device)
    row = {}
    for number_format in ("fp32", *(COMPARED if settings.on_gpu else ())):
        with computing(number_format, settings.device):
            restored = prepared(model.network, number_format)(low).float().cpu()
        row[number_format] = round(y_psnr(to_pixels(restored), truth, scale), 4)
    return row


def step(report: Report, settings: Settings) -> None:
    """PSNR by set, image and format, and the mean change that each format makes in each set."""
    model = bundled()
    model.network.to(settings.device)
    set_scan_backend(model.network, settings.scan)
    for count, (collection, name, pixels) in enumerate(truths(settings.data)):
        if settings.quick and count:
            break
        report.attempt(partial(scores, model, pixels, settings), "psnr_y_dB", collection, name)
    for collection, rows in report.figures.get("psnr_y_dB", {}).items():
        measured = [row for row in rows.values() if "error" not in row]
        for number_format in COMPARED if settings.on_gpu else ():
            changes = [row[number_format] - row["fp32"] for row in measured]
            report.put(
                round(float(np.mean(changes)), 5) if changes else None,
                "mean_change_from_fp32_dB",
                collection,
                number_format,
            )
