"""What an image has, as its file tells or its pixels show, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.checkpoints.choice import nearest_level, trained_levels
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import BandReader, RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.jpeg_cells import BLOCK, JpegCells, reach_at
from mambair_cli.pixels.jpeg_history import JpegHistory, find_history
from mambair_cli.pixels.noise import estimate_sigma
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting

# What a note on an image begins with that says what was found in it.
FOUND = "found: "
# What is looked at before it is restored.
MEASURED_TASKS = ("denoise", "dejpeg")
# Quality of a lossy result that keeps what little may be gained from a coarse and a fine file.
_KEEPS_COARSE, _KEEPS_FINE = 98, 100
_FINE = 85
# Of what coefficients may move, in files of more components than colours (CMYK).
_MOST_COLOURS, _SHARE_OF_INKS = 3, 0.2
# The middle of an image tells enough.
_SAMPLE = 512
# Formats that lose something, and with it the noise by which noise is known best.
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL")
# From this quality on a file may hide an earlier, stronger compression, and by how much stronger.
_FINE_QUALITY, _STRONGER = 80, 10
# How near a quality that the user gives is to that of the file, if it means the same.
_SAME_QUALITY = 5
# Weaker noise cannot be told from texture: measured on pixels as they were, and on compressed ones.
_LEAST_SIGMA, _LEAST_SIGMA_COMPRESSED = 2.5, 5.0
# Share of a network's change that gained most, by the noise of the image.
_STRENGTH = {2: 0.0, 3: 0.25, 4: 0.4, 6: 0.72, 8: 0.88, 12: 1.0}


@dataclass(frozen=True)
class Sample:
    """The middle of an image, and what its file says.

    Attributes:
        pixels: `(h w c)` uint8, gray or RGB; blocks lie in them as they lie in the image.
        size: Height and width of the image.
        metadata: Of the file.
        name: What messages call the image.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    metadata: Metadata
    name: str

    @classmethod
    def of_image(cls, image: RestorableImage, name: str | None = None) -> Sample:
        """Take it from an image in memory."""
        height, width = image.pixels.shape[:2]
        middle = image.pixels[_middle(height), _middle(width)]
        part = replace(image, pixels=middle, alpha=None)
        named = name or f"a {image.metadata.source_format} image"
        return cls(in_8_bits(part), (height, width), image.metadata, named)

    @classmethod
    def of_bands(cls, reader: BandReader, name: str | None = None) -> Sample:
        """Take it from a file that is open at its top; nothing else can be read from it then."""
        header = reader.header
        rows = _middle(header.height)
        band = reader.read(rows.start, rows.stop).pixels[:, _middle(header.width)]
        pixels = in_8_bits(RestorableImage(band, span=reader.span))
        named = name or f"a {reader.metadata.source_format} image"
        return cls(pixels, (header.height, header.width), reader.metadata, named)


def _middle(side: int) -> slice:
    start = max(0, side - _SAMPLE) // 2 // BLOCK * BLOCK
    return slice(start, min(side, start + _SAMPLE))


@dataclass(frozen=True, eq=False)
class Treatment:
    """What is done about an image.

    Attributes:
        request: What weights are chosen for; None where the image is left alone.
        sigma: Strength of the noise that is removed.
        cells: How far the result may leave the file.
        found: What was found and what follows, for people; empty where the user said it all.
        least_quality: As `RestorableImage.least_quality`.
    """

    request: Request | None
    sigma: float | None = None
    cells: JpegCells | None = None
    found: str = ""
    least_quality: int = 0

    def fitting(self, spec: ModelSpec) -> Fitting:
        """Fit weights to the image."""
        if self.sigma is not None and spec.sigma is not None:
            return fitted_to_noise(self.sigma, spec.sigma)
        return AS_TRAINED if self.cells is None else Fitting(cells=self.cells)


def _left_alone(found: str) -> Treatment:
    return Treatment(None, found=found, least_quality=_KEEPS_FINE)


def fitted_to_noise(sigma: float, trained: float) -> Fitting:
    """Fit weights for one strength of noise to another.

    Less contrast makes noise weaker, more makes it stronger. Beyond what the weakest weights know,
    and where much of the noise is clipped, half of the way measured best (benchmarks/any_noise.py).

    Args:
        sigma: Of the image, in levels of 255.
        trained: Of the weights.
    """
    if sigma == trained:
        return AS_TRAINED
    half_way = sigma < trained <= 15 or sigma > trained >= 50
    contrast = (trained / sigma) ** (0.5 if half_way else 1)
    strength = float(np.interp(sigma, list(_STRENGTH), list(_STRENGTH.values())))
    return Fitting(contrast, strength if sigma < trained else 1.0)


def treatment_of(request: Request, sample: Sample) -> Treatment:
    """Decide what is done about an image.

    Raises:
        ImageError: What has to be known can neither be read nor measured.
    """
    if request.task == "dejpeg":
        return _against_blocks(request, sample)
    if request.task == "denoise":
        return _against_noise(request, sample)
    return Treatment(request)


def _against_noise(request: Request, sample: Sample) -> Treatment:
    if request.sigma is not None and request.sigma <= min(_STRENGTH):
        return _left_alone(f"noise {request.sigma:g}: left alone, nothing to gain")
    if request.sigma is not None or request.weights is not None:
        return Treatment(request, request.sigma)
    compressed = sample.metadata.source_format in _LOSSY
    sigma = estimate_sigma(sample.pixels, compressed=compressed)
    least = _LEAST_SIGMA_COMPRESSED if compressed else _LEAST_SIGMA
    if sigma < least:
        return _left_alone(f"noise {sigma:.1f}: left alone, nothing to gain")
    sigma = round(sigma, 1)
    found = f"noise {sigma:g}"
    level = nearest_level("sigma", sigma, trained_levels(request.task, "sigma"))
    return Treatment(replace(request, sigma=level), sigma, found=found)


def _against_blocks(request: Request, sample: Sample) -> Treatment:
    coding, given = sample.metadata.jpeg, request.quality
    if coding is not None and (given is None or abs(given - coding.quality) <= _SAME_QUALITY):
        return _in_own_cells(request, sample, coding)
    history = _history(sample)
    if given is None and history is None:
        if request.weights is not None:
            return Treatment(request)
        raise ImageError(
            f"{sample.name} does not say with which JPEG quality it was once saved, and no blocks "
            "of one are found in it",
            "give it: --quality 10, 30 or 40",
        )
    if given is not None:
        history = replace(history or JpegHistory(given, 0, 0), quality=given)
    assert history is not None
    told = "" if given is not None else f"blocks of JPEG quality {history.quality}"
    return _in_cells_of(request, sample, history, told)


def _in_own_cells(request: Request, sample: Sample, coding: JpegCoding) -> Treatment:
    quality = coding.quality
    if request.quality is None and quality >= _FINE_QUALITY:
        history = _history(sample)
        if history is not None and history.quality <= quality - _STRONGER:
            before = f"blocks of an earlier JPEG quality {history.quality}"
            return _in_cells_of(request, sample, history, before)
    found = f"JPEG quality {quality}"
    reach = _reach_of(coding)
    if reach == 0:
        return _left_alone(f"{found}: left alone, nothing to gain")
    cells = JpegCells.of_file(coding, reach, sample.metadata.stored_orientation, *sample.size)
    if cells is None:
        return _left_alone("unusual JPEG sampling: left alone, its blocks are not known")
    return _within(cells, request, sample, quality, found)


def _reach_of(coding: JpegCoding) -> float:
    """Return how far coefficients may move; those of inks are not those of the colours shown."""
    reach = reach_at(coding.quality)
    if len(coding.tables) <= _MOST_COLOURS:
        return reach
    return _SHARE_OF_INKS * reach if coding.quality < _FINE else 0.0


def _in_cells_of(request: Request, sample: Sample, history: JpegHistory, told: str) -> Treatment:
    reach = reach_at(history.quality)
    if reach == 0:
        found = told or f"JPEG quality {history.quality}"
        return _left_alone(f"{found}: left alone, nothing to gain")
    cells = JpegCells.of_file(JpegCoding.of_quality(history.quality), reach, 1, *sample.size)
    assert cells is not None
    cells = replace(cells, top=history.top, left=history.left)
    return _within(cells, request, sample, history.quality, told)


def _within(
    cells: JpegCells, request: Request, sample: Sample, quality: int, found: str
) -> Treatment:
    if request.weights is None:
        request = replace(request, quality=quality)
        if len(request.every_case()) > 1:
            request = replace(request, channels=sample.pixels.shape[2])
    least = _KEEPS_FINE if quality >= _FINE else _KEEPS_COARSE
    return Treatment(request, cells=cells, found=found, least_quality=least)


def _history(sample: Sample) -> JpegHistory | None:
    values: NDArray[Any] = sample.pixels
    luma = (
        values[..., 0].astype(np.float32) if values.shape[2] == 1 else rgb_to_ycbcr(values)[..., 0]
    )
    return find_history(luma)
