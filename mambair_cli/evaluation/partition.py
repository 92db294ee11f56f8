"""The partition that the paper's scores were measured with: parts of an image, cut hard.

The authors never run a large image whole. Their scores come from parts that overlap by a tenth and
are stitched without blending, which differs a little from a whole image and from `restoration`'s
blended tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from mambair_cli.networks.padding import crop_to, pad_to

# An axis is cut into one part more than this goes into it.
PART_SIDE = 200
# A part reaches into its neighbours by this share of its size.
OVERLAP_SHARE = 10


@dataclass(frozen=True)
class Part:
    """A part of one axis, in input pixels.

    Attributes:
        start: First pixel that the network sees.
        stop: Pixel after the last that it sees.
        keep_start: First pixel that is kept of the result.
        keep_stop: Pixel after the last that is kept.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def parts_of(side: int) -> list[Part]:
    """Cut one axis.

    Args:
        side: Pixels of the image along it.

    Returns:
        Parts of one size, `side // 200 + 1` of them; together they keep `padded_side(side)` pixels.
    """
    count = side // PART_SIDE + 1
    size = padded_side(side) // count
    overlap = size // OVERLAP_SHARE
    end = count * size
    return [
        Part(max(0, start - overlap), min(end, start + size + overlap), start, start + size)
        for start in range(0, end, size)
    ]


def padded_side(side: int) -> int:
    """Round a side up so that its parts are of one size."""
    count = side // PART_SIDE + 1
    return -(-side // count) * count


def restore_in_parts(
    restore: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: int,
    on_part: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Restore an image as the authors' evaluation does.

    Args:
        restore: Maps `(1 c h w)` to `(1 c h*scale w*scale)`, without cutting anything itself.
        x: `(1 c h w)`.
        scale: Output side over input side.
        on_part: Called with parts done and parts in all, first with none done.

    Returns:
        `(1 c h*scale w*scale)`.
    """
    height, width = x.shape[2:]
    padded = pad_to(x, padded_side(height), padded_side(width))
    restored = padded.new_empty((*x.shape[:2], *(side * scale for side in padded.shape[2:])))
    places = list(_places(height, width))
    for done, (row, column) in enumerate(places):
        if on_part is not None:
            on_part(done, len(places))
        part = restore(padded[:, :, row.start : row.stop, column.start : column.stop])
        rows, columns = _kept(row, scale), _kept(column, scale)
        into = restored[
            :,
            :,
            row.keep_start * scale : row.keep_stop * scale,
            column.keep_start * scale : column.keep_stop * scale,
        ]
        into.copy_(part[:, :, rows, columns])
    if on_part is not None:
        on_part(len(places), len(places))
    return crop_to(restored, height * scale, width * scale)


def _places(height: int, width: int) -> Iterator[tuple[Part, Part]]:
    for row in parts_of(height):
        for column in parts_of(width):
            yield row, column


def _kept(part: Part, scale: int) -> slice:
    start = (part.keep_start - part.start) * scale
    return slice(start, start + (part.keep_stop - part.keep_start) * scale)
