"""What is done about the blocks of JPEG compression."""

from __future__ import annotations

from dataclasses import replace

from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import (
    KEEPS_COARSE,
    KEEPS_FINE,
    Step,
    Treatment,
    left_alone,
)
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding
from mambair_cli.pixels.jpeg_cells import JpegCells, reach_at
from mambair_cli.pixels.jpeg_history import JpegHistory, find_history

_FINE = 85
# Of what coefficients may move, in files of more components than colours (CMYK).
_MOST_COLOURS, _SHARE_OF_INKS = 3, 0.2
# From this quality on a file may hide an earlier, stronger compression, and by how much stronger.
_FINE_QUALITY, _STRONGER = 80, 10
# How near a quality that the user gives is to that of the file, if it means the same.
_SAME_QUALITY = 5


def against_blocks(request: Request, sample: Sample) -> Treatment:
    """Remove blocks within the cells of the file, or of one that it once was.

    Raises:
        ImageError: Their quality is neither told nor found.
    """
    if (treatment := blocks_found(request, sample)) is not None:
        return treatment
    if request.weights is not None:
        return Treatment((Step(request),))
    raise ImageError(
        f"{sample.name} does not say with which JPEG quality it was once saved, and no blocks "
        "of one are found in it",
        "give it: --quality 10, 30 or 40",
    )


def after_blocks(before: Request, request: Request, sample: Sample) -> Treatment:
    """Remove blocks where there are any, then do what is asked for."""
    blocks, step = blocks_found(before, sample), Step(request)
    if blocks is None or not blocks.steps:
        return Treatment((step,))
    steps = (*blocks.steps, step)
    done = ", ".join(each.command for each in steps)
    return Treatment(steps, f"{blocks.found}: {done}")


def blocks_found(request: Request, sample: Sample) -> Treatment | None:
    """Decide what is done about blocks; None where there are none."""
    coding, given = sample.metadata.jpeg, request.quality
    if coding is not None and (given is None or abs(given - coding.quality) <= _SAME_QUALITY):
        return _in_own_cells(request, sample, coding)
    history = find_history(sample.luma)
    if given is not None:
        history = replace(history or JpegHistory(given, 0, 0), quality=given)
    if history is None:
        return None
    told = "" if given is not None else f"blocks of JPEG quality {history.quality}"
    return _in_cells_of(request, sample, history, told)


def _in_own_cells(request: Request, sample: Sample, coding: JpegCoding) -> Treatment:
    quality = coding.quality
    if request.quality is None and quality >= _FINE_QUALITY:
        history = find_history(sample.luma)
        if history is not None and history.quality <= quality - _STRONGER:
            before = f"blocks of an earlier JPEG quality {history.quality}"
            return _in_cells_of(request, sample, history, before)
    found = f"JPEG quality {quality}"
    reach = _reach_of(coding)
    if reach == 0:
        return left_alone(f"{found}")
    cells = JpegCells.of_file(coding, reach, sample.metadata.stored_orientation, *sample.size)
    if cells is None:
        return left_alone("unusual JPEG sampling", "its blocks are not known")
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
        return left_alone(f"{found}")
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
    least = KEEPS_FINE if quality >= _FINE else KEEPS_COARSE
    return Treatment((Step(request, cells=cells),), found, least)
