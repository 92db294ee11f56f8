"""Sorting pixels by their classes on a CPU: an argmax and a counting sort."""

from __future__ import annotations

from numba import int64, njit

from mambair_cli.kernels.lanes import first_equal, largest_of
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.vector import LANES, load, maximum, offset, splat


@njit(forceinline=True)
def _best(scores, count):
    """Find the first of the highest of a pixel's scores."""
    highest = load(scores, 0) if count >= LANES else splat(scores[0])
    for label in range(LANES, count - LANES + 1, LANES):
        highest = maximum(load(scores, label), highest)
    top = largest_of(highest)
    for label in range(count // LANES * LANES, count):
        top = scores[label] if scores[label] > top else top
    best = 0
    while best <= count - LANES:
        lane = first_equal(load(scores, best), splat(top))
        if lane < LANES:
            return best + lane
        best += LANES
    while best < count - 1 and scores[best] != top:
        best += 1
    return best


@kernel(floats=1, integers=4)
def sort_by_class(scores, classes, order, places, counters, length, count, first, last):
    """Sort the pixels of each image by the class with the highest score, stably.

    Args:
        scores: `(b l t)`, flat.
        classes: Receives the class of each pixel, `(b l)`, flat.
        order: Receives the pixels in the order of their classes, `(b l)`, flat; pixels of all
            images are numbered through.
        places: Receives where each pixel went, likewise.
        counters: `(b t+1)`, to work in.
        length: Pixels of an image.
        count: Classes.
        first: First image.
        last: The one after the last.
    """
    for image in range(first, last):
        starts = offset(counters, image * (count + 1))
        for label in range(count + 1):
            starts[label] = int64(0)
        for pixel in range(image * length, (image + 1) * length):
            best = _best(offset(scores, pixel * count), count)
            classes[pixel] = best
            starts[best + 1] += 1
        starts[0] = image * length
        for label in range(count):
            starts[label + 1] += starts[label]
        for pixel in range(image * length, (image + 1) * length):
            place = starts[classes[pixel]]
            starts[classes[pixel]] += 1
            order[place] = pixel
            places[pixel] = place
