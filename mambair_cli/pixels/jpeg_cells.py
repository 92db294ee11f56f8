"""How far a restored picture may leave the JPEG file that it comes from.

A JPEG file says in which cell of its quantisation tables each DCT coefficient of the original lies.
A network's change is cut into the file's blocks and transformed, and no coefficient may move by
more than a share of its quantisation step. Nothing has to be decoded for that: where the cells lie
is where the coefficients of the decoded picture are, and only the change is transformed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding
from mambair_cli.imaging.orientation import STEPS

Change = NDArray[np.float32]

BLOCK = 8
# Qualities, and how many quantisation steps a coefficient may move: what gained most for libjpeg's
# tables and the bundled weights while no picture lost (benchmarks/dejpeg_cells.py).
_REACH = {40: 0.35, 60: 0.3, 75: 0.25, 85: 0.17, 90: 0.13, 94: 0.08, 96: 0.0}
# The share of that for chroma at a lower resolution: texture of colours that is left there is taken
# for squares of compression.
_REACH_OF_CHROMA = {85: 1.0, 92: 0.7}
# The share that is taken of what the file does not see of a change of such chroma.
_UNSEEN = {92: 1.0, 94: 0.6, 95: 0.3}
# Smaller coefficients are zero in the file, but for what rounding its pixels left of them.
_HELD = 3.0
# The DCT of a block x is DCT @ x @ DCT.T.
DCT = np.array(
    [
        [np.sqrt((1 if u == 0 else 2) / BLOCK) * np.cos((2 * x + 1) * u * np.pi / (2 * BLOCK))]
        for u in range(BLOCK)
        for x in range(BLOCK)
    ],
    np.float32,
).reshape(BLOCK, BLOCK)


def reach_at(quality: float) -> float:
    """Return how many quantisation steps coefficients may move; 0 where there is nothing to gain.

    Args:
        quality: Of the file, 1 to 100.
    """
    return _at(_REACH, quality)


def _at(curve: dict[int, float], quality: float) -> float:
    return float(np.interp(quality, list(curve), list(curve.values())))


@dataclass(frozen=True, eq=False)
class JpegCells:
    """The blocks of a picture, and how far their coefficients may move.

    Attributes:
        luma: `(8 8)`, in levels of 255, rows by vertical frequency.
        chroma: As `luma`; None where the picture is gray or is restored in gray.
        factors: Rows and columns of luma for one of chroma.
        top: Rows above the first block that begins inside the picture.
        left: Columns before it.
        shrinking: Share that is taken of what makes a coefficient of luma smaller. Networks make
            those smaller that they doubt; of a blurred picture too little of each is left already.
        unseen: Share that is taken of a change of chroma between the samples that the file holds.
    """

    luma: Change
    chroma: Change | None = None
    factors: tuple[int, int] = (1, 1)
    top: int = 0
    left: int = 0
    shrinking: float = 1.0
    unseen: float = 1.0

    @classmethod
    def of_file(
        cls, coding: JpegCoding, reach: float, orientation: int, height: int, width: int
    ) -> JpegCells | None:
        """Return the cells of an upright picture as its file holds them.

        Args:
            coding: Of the file.
            reach: Quantisation steps that coefficients may move.
            orientation: How the file holds the picture, as EXIF numbers it.
            height: Of the upright picture.
            width: Likewise.

        Returns:
            The cells; None where luma is not held at full resolution, or chroma at no whole part
            of it.
        """
        factors = _factors(coding)
        if factors is None:
            return None
        swapped, rows, columns = STEPS[orientation]
        steps = [
            reach * np.array(table, np.float32).reshape(BLOCK, BLOCK) for table in coding.tables
        ]
        of_chroma = 1.0 if factors == (1, 1) else _at(_REACH_OF_CHROMA, coding.quality)
        if swapped:
            steps, factors = [table.T for table in steps], (factors[1], factors[0])
        # Blocks begin where the file begins, at its end where the picture is reversed.
        return cls(
            steps[0],
            None if len(steps) < 3 else np.float32(of_chroma) * np.minimum(*steps[1:3]),
            factors,
            height % (BLOCK * factors[0]) if rows else 0,
            width % (BLOCK * factors[1]) if columns else 0,
            unseen=_at(_UNSEEN, coding.quality),
        )

    @property
    def rows(self) -> int:
        """Rows that belong together."""
        return BLOCK * self.factors[0]

    def whole(self, stop: int) -> int:
        """Return the last row, at `stop` or before, at which blocks end."""
        return stop - (stop - self.top) % self.rows

    def limited(self, change: Change, first: int, picture: Change) -> Change:
        """Limit what is changed of some rows.

        Args:
            change: `(rows w c)`, luma alone or YCbCr, in levels of 255. The rows are all of the
                picture's that belong to some blocks.
            first: Row of the picture that they begin with.
            picture: What is changed, as `change`.

        Returns:
            The part that stays within the cells.
        """
        height, width, channels = change.shape
        above, before = (first - self.top) % self.rows, -self.left % (BLOCK * self.factors[1])
        edges = (
            (above, -(above + height) % self.rows),
            (before, -(before + width) % (BLOCK * self.factors[1])),
        )
        limited = []
        for channel in range(channels):
            # Encoders, too, continue a picture by its edge.
            padded = np.pad(change[..., channel], edges, mode="edge")
            if channel == 0:
                inside = _clipped(padded, self.luma)
                if self.shrinking < 1:
                    held = np.pad(picture[..., 0], edges, mode="edge")
                    inside = _less_shrunken(inside, held, self.shrinking)
            else:
                inside = _clipped_below(padded, self.chroma, self.factors, self.unseen)
            limited.append(inside[above : above + height, before : before + width])
        return np.stack(limited, axis=-1)


def _factors(coding: JpegCoding) -> tuple[int, int] | None:
    """Rows and columns of luma for one of chroma; None where they are no whole numbers."""
    (across, down), others = coding.sampling[0], coding.sampling[1:3]
    if any(sampling != others[0] for sampling in others):
        return None
    for wide, high in others:
        if across % wide or down % high:
            return None
        return down // high, across // wide
    return 1, 1


def _clipped(plane: Change, steps: Change) -> Change:
    return _plane(_coefficients(plane).clip(-steps, steps))


def _less_shrunken(plane: Change, held: Change, share: float) -> Change:
    """Take a share of what makes coefficients smaller that a picture holds, but means of blocks."""
    change, coefficients = _coefficients(plane), _coefficients(held)
    shrinks = (change * coefficients < 0) & (np.abs(coefficients) > _HELD)
    shrinks[..., 0, 0] = False
    return _plane(np.where(shrinks, np.float32(share) * change, change))


def _coefficients(plane: Change) -> Change:
    """`(rows columns 8 8)` of the blocks of a plane."""
    rows, columns = (side // BLOCK for side in plane.shape)
    blocks = plane.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    return np.asarray(DCT @ blocks @ DCT.T)


def _plane(coefficients: Change) -> Change:
    rows, columns = coefficients.shape[:2]
    blocks = np.asarray(DCT.T @ coefficients @ DCT, np.float32)
    return blocks.transpose(0, 2, 1, 3).reshape(rows * BLOCK, columns * BLOCK)


def _clipped_below(
    plane: Change, steps: Change | None, factors: tuple[int, int], unseen: float
) -> Change:
    """Clip what a file with fewer samples of chroma sees of a change; of the rest take a share."""
    if steps is None:
        return np.zeros_like(plane)
    down, across = factors
    height, width = plane.shape
    means = plane.reshape(height // down, down, width // across, across).mean(axis=(1, 3))
    excess, seen = (
        each.repeat(down, axis=0).repeat(across, axis=1)
        for each in (_clipped(means, steps) - means, means)
    )
    left = np.float32(1 - unseen) * (plane - seen)
    return np.asarray(plane + excess - left, np.float32)
