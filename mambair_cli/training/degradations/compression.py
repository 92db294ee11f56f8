"""JPEG, whose blocks begin anywhere: what was cropped after saving has no block at its corner.

For a network that is given what another has cleaned, the blocks can be taken out again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.errors import RecipeError
from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding, coding_of_image
from mambair_cli.networks import RestorationNetwork
from mambair_cli.pixels.jpeg_cells import JpegCells, reach_at
from mambair_cli.pixels.tensors import to_pixels, to_tensor
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.fitting import Fitting
from mambair_cli.training.parsing import Span

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

# Two blocks of luma, one of subsampled chroma.
_CELL = 16


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression; listed twice it is a file that was saved twice, on grids that differ.

    Attributes:
        kind: `jpeg`.
        quality: Of libjpeg, 1 to 100.
        subsampling: One of these is drawn; in a list a value may stand more than once.
        restored_by: Name or file of weights that restore each file afterwards, within its cells, as
            `mambair dejpeg` does; None leaves the blocks.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["jpeg"]
    quality: Span
    subsampling: tuple[Subsampling, ...] = ("4:2:0", "4:4:4")
    restored_by: str | None = None
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Code and decode `(h w c)` uint8."""
        quality = int(
            generator.integers(round(self.quality.low), round(self.quality.high), endpoint=True)
        )
        subsampling = self.subsampling[int(generator.integers(len(self.subsampling)))]
        y, x = (int(start) for start in generator.integers(_CELL, size=2))
        return recoded(pixels, quality, subsampling, (y, x), self.restored_by)


def recoded(
    pixels: NDArray[np.uint8],
    quality: int,
    subsampling: Subsampling,
    origin: tuple[int, int] = (0, 0),
    restored_by: str | None = None,
) -> NDArray[np.uint8]:
    """Code as JPEG and decode.

    Args:
        pixels: `(h w c)` uint8, RGB or gray.
        quality: Of libjpeg, 1 to 100.
        subsampling: Of the chroma.
        origin: Row and column of a block at which the picture begins.
        restored_by: As for `Jpeg`.

    Returns:
        `(h w c)` uint8.
    """
    y, x = origin
    padded = np.pad(pixels, ((y, 0), (x, 0), (0, 0)), "edge")
    image = Image.fromarray(padded if pixels.shape[2] == 3 else padded[..., 0])
    coded = io.BytesIO()
    options = {} if pixels.shape[2] == 1 else {"subsampling": subsampling}
    image.save(coded, "JPEG", quality=quality, **options)
    with Image.open(coded) as decoded:
        picture = np.asarray(decoded).reshape(padded.shape)
        if restored_by is not None:
            picture = _restored(picture, coding_of_image(decoded), restored_by)
    return picture[y:, x:]


def _restored(
    picture: NDArray[np.uint8], coding: JpegCoding | None, weights: str
) -> NDArray[np.uint8]:
    """Restore what a file shows within its cells; what is too fine for that stays as it is."""
    assert coding is not None
    reach = reach_at(coding.quality)
    if reach == 0:
        return picture
    cells, network = JpegCells.of_file(coding, reach, 1, *picture.shape[:2]), _network(weights)
    if network.channels != picture.shape[2]:
        raise RecipeError(
            f"restored_by = {weights!r} has {network.channels} channels, the samples "
            f"{picture.shape[2]}",
            "name weights for as many, mambair-tiny-dejpeg-color for colour",
        )
    shown = to_tensor(picture)
    with torch.inference_mode():
        answer = network(shown).clamp(0, 1)
    return to_pixels(Fitting(cells=cells).applied(answer, shown, 0))


@cache
def _network(weights: str) -> RestorationNetwork:
    """Load weights against blocks, onto the CPU, where samples are made.

    Raises:
        CheckpointError: They cannot be had or read.
        RecipeError: They are for something else.
    """
    loaded = load_checkpoint(resolve(weights))
    if loaded.spec.task != "dejpeg":
        raise RecipeError(
            f"restored_by = {weights!r} is for {loaded.spec.task}, not for dejpeg",
            "name weights against JPEG blocks, such as mambair-tiny-dejpeg-color",
        )
    set_scan_backend(loaded.network, "auto")
    return loaded.network
