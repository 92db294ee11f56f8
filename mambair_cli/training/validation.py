"""Validation: the mean PSNR of a network over folders of images, by the rules of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mambair_cli.errors import ImageError, RecipeError
from mambair_cli.evaluation.degrade import crop_to_multiple, downscale
from mambair_cli.evaluation.examples import cropped_like
from mambair_cli.evaluation.metrics import psnr, y_psnr
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.config import Recipe
from mambair_cli.training.data import degrade
from mambair_cli.training.degradations.chain import run_steps
from mambair_cli.training.images import list_images, read_all, read_pixels


@dataclass(frozen=True)
class ValidationImage:
    """A network input `(1 c h w)` float32 and the reference `(h*s w*s c)` uint8."""

    low: Tensor
    truth: NDArray[np.uint8]


class Validator:
    """Holds the validation images in memory and scores networks on them.

    A folder is either flat, its images then being degraded as the recipe says and always with the
    same noise, or holds `HR` and `LR_bicubic/X<scale>` as the benchmark sets do.

    Args:
        recipe: The recipe.
        root: Directory that the folders are relative to.

    Attributes:
        unreadable: Images that cannot be read and are left out, with the reason.

    Raises:
        RecipeError: A folder is missing or empty, a low-resolution partner is missing, or no image
            of a folder can be read.
    """

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self._scale = recipe.network.scale
        self._colour_sr = self._scale > 1 and recipe.network.channels == 3
        self.unreadable: dict[Path, ImageError] = {}
        self._folders = {
            folder: _read_folder(root / folder, recipe, self.unreadable)
            for folder in recipe.validation.folders
        }

    def scores(self, network: nn.Module) -> dict[str, float]:
        """Compute the mean PSNR in dB by folder.

        Super-resolution is measured on luma without a border of `scale` pixels, everything else on
        all channels without cropping.
        """
        device = next(network.parameters()).device
        return {
            folder: float(np.mean([self._score(network, example, device) for example in examples]))
            for folder, examples in self._folders.items()
        }

    @torch.inference_mode()
    def _score(self, network: nn.Module, example: ValidationImage, device: torch.device) -> float:
        restored = network(example.low.to(device)).float().cpu()
        pixels = to_8_bits(restored[0].permute(1, 2, 0).numpy())
        if self._colour_sr:
            return y_psnr(pixels, example.truth, self._scale)
        return psnr(pixels, example.truth, border=self._scale if self._scale > 1 else 0)


def _read_folder(
    folder: Path, recipe: Recipe, unreadable: dict[Path, ImageError]
) -> list[ValidationImage]:
    paired = (folder / "HR").is_dir()
    files = list_images(folder / "HR" if paired else folder)
    numbers = {path: index for index, path in enumerate(files)}
    partners = folder / "LR_bicubic" / f"X{recipe.network.scale}"

    def read(path: Path) -> ValidationImage:
        # Noise depends on a file's place among all, so that it stays when another is damaged.
        return _read_example(path, partners if paired else None, numbers[path], recipe)

    return [example for _, example in read_all(files, read, unreadable)]


def _read_example(path: Path, partners: Path | None, seed: int, recipe: Recipe) -> ValidationImage:
    scale, channels, data = recipe.network.scale, recipe.network.channels, recipe.data
    generator = np.random.default_rng(seed)
    truth = read_pixels(path, channels)
    if partners is not None and scale > 1:
        partner = partners / f"{path.stem}x{scale}.png"
        if not partner.is_file():
            raise RecipeError(
                f"{path} has no low-resolution partner {partner}",
                "remove the HR level to have the images downscaled on the fly",
            )
        low = read_pixels(partner, channels)
        truth = _cropped(path, truth, partner, low, scale)
    else:
        truth = crop_to_multiple(truth, scale)
    if min(truth.shape[:2]) <= (2 * scale if scale > 1 else 0):
        raise RecipeError(
            f"{path} cannot be scored: {truth.shape[1]}x{truth.shape[0]} pixels leave nothing "
            f"inside a border of {scale}",
            "take it out of the validation folder",
        )
    if partners is None or scale == 1:
        low = _made(truth, recipe, generator)
    degraded = degrade(low, data.noise_sigma, data.jpeg_quality, generator, clipped=data.clipped)
    white = 255 if degraded.dtype == np.uint8 else 1
    tensor = torch.from_numpy(degraded.copy()).permute(2, 0, 1)[None].float() / white
    return ValidationImage(tensor.contiguous(), truth)


def _made(
    truth: NDArray[np.uint8], recipe: Recipe, generator: np.random.Generator
) -> NDArray[np.uint8]:
    scale = recipe.network.scale
    if recipe.data.steps:
        size = truth.shape[0] // scale, truth.shape[1] // scale
        return run_steps(recipe.data.steps, truth, size, generator)
    return downscale(truth, scale) if scale > 1 else truth


def _cropped(
    path: Path, truth: NDArray[np.uint8], partner: Path, low: NDArray[np.uint8], scale: int
) -> NDArray[np.uint8]:
    """Crop a reference as it was when its partner was made of it."""
    (height, width), (low_height, low_width) = truth.shape[:2], low.shape[:2]
    size = cropped_like((height, width), (low_height, low_width), scale)
    if size is None:
        raise RecipeError(
            f"{partner} has {low_width}x{low_height} pixels: it is not {path}, of "
            f"{width}x{height}, made {scale} times smaller",
            "take partners that were made of these references, or remove the HR level to have the "
            "images downscaled on the fly",
        )
    return truth[: size[0], : size[1]]
