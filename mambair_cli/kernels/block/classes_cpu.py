"""Sorting pixels by their classes on a CPU: an argmax and a counting sort."""

from __future__ import annotations

from numba import int64

from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.vector import offset


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
            best = 0
            for label in range(1, count):
                if scores[pixel * count + label] > scores[pixel * count + best]:
                    best = label
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
