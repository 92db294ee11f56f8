"""What restores the images of one file, whole or in bands, and how long its parts take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from mambair_cli.batches.events import Timings
from mambair_cli.batches.treatment.steps import Finding
from mambair_cli.imaging.image import (
    Band,
    BandReader,
    ImageHeader,
    ImageSequence,
    ReaderOfReader,
    RestorableImage,
)
from mambair_cli.restoration.tiled_run import Progress

# Told how an image is run, and what was found in it.
OnNote = Callable[[str | Finding], None]
Each = TypeVar("Each")


@dataclass(frozen=True)
class Restore:
    """What restores images on one device; one thread at a time uses a GPU's, several a CPU's.

    Attributes:
        images: Restores whole images of one size, reporting their tiles and notes.
        bands: Restores an image that is too large for that: gives what is to be written, and its
            bands from top to bottom, computed as they are asked for; None where there is nothing to
            restore. Is given what opens the image for another pass, to look at it beforehand.
        most_pixels: Of images that are better restored together than one by one; 0 for none.
        of_frames: Gives what restores the frames of an animation, all of them in the same way;
            None where nothing is decided about single images.
    """

    images: Callable[[Sequence[RestorableImage], Progress, OnNote], Sequence[RestorableImage]]
    bands: Callable[
        [BandReader, Callable[[], BandReader], Progress, OnNote],
        tuple[ImageHeader, Iterator[Band]] | None,
    ]
    most_pixels: int = 0
    of_frames: Callable[[Sequence[RestorableImage]], Restore] | None = None

    def together(self, width: int, height: int) -> int:
        """Tell how many images of a size are best restored together."""
        return max(1, self.most_pixels // (width * height))

    def image(
        self, image: RestorableImage, on_progress: Progress, on_note: OnNote
    ) -> RestorableImage:
        """Restore a single image."""
        (restored,) = self.images([image], on_progress, on_note)
        return restored

    def sequence(
        self, sequence: ImageSequence, on_progress: Progress, on_note: OnNote
    ) -> ImageSequence:
        """Restore all images of a file, those together that follow each other and are alike.

        Pages are looked at one by one, of an animation all frames are treated alike.

        Args:
            sequence: What was read.
            on_progress: Told of the tiles of all images together; those of images to come are
                guessed to be as many as those of the present one.
            on_note: Told how images are run, once where it is the same for several.

        Returns:
            The restored images, timed like the source.
        """
        of_frames = None if sequence.timing is None else self.of_frames
        restore = self if of_frames is None else of_frames(sequence.images)
        restored: list[RestorableImage] = []
        tiles = ImageTiles(len(sequence.images), on_progress)
        noted: set[str | Finding] = set()

        def note(each: str | Finding) -> None:
            if each not in noted:
                noted.add(each)
                on_note(each)

        for images in self._alike(sequence.images):
            restored += restore.images(images, tiles.of(len(images)), note)
        return replace(sequence, images=tuple(restored))

    def _alike(self, images: Sequence[RestorableImage]) -> Iterator[Sequence[RestorableImage]]:
        for _, group in groupby(images, _kind):
            alike = list(group)
            height, width = alike[0].pixels.shape[:2]
            yield from batched(alike, self.together(width, height))


class ImageTiles:
    """Add up the tiles of images that are restored one after the other, or some together.

    Args:
        images: How many there are; those to come are guessed to have as many tiles as those of the
            present.
        on_progress: Told of the tiles of all.
    """

    def __init__(self, images: int, on_progress: Progress) -> None:
        self._left = images
        self._before = self._here = self._together = 0
        self._on_progress = on_progress

    def of(self, images: int) -> Progress:
        """Return what is told of the next images, until this is called again."""
        self._left -= self._together
        self._before += self._here
        self._here, self._together = 0, images
        return self._report

    def _report(self, done: int, total: int) -> None:
        self._here = total
        in_all = total * self._left // self._together
        self._on_progress(self._before + done, self._before + in_all)


def _kind(image: RestorableImage) -> tuple[object, ...]:
    return image.pixels.shape, image.pixels.dtype, image.alpha is None


def batched(images: Sequence[Each], most: int) -> Iterator[Sequence[Each]]:
    """Cut images into as few parts of about one length as can be."""
    parts = math.ceil(len(images) / most)
    even = math.ceil(len(images) / parts)
    for start in range(0, len(images), even):
        yield images[start : start + even]


class Stopwatch:
    """Tell reading, network and writing apart where each band passes through all of them."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._read = self._restored = 0.0

    def reading(self, reader: BandReader) -> BandReader:
        """Return the same reader, with its time taken."""
        return _TimedReader(reader, self._add_read)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Take the time of what restores, reading included."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._restored += time.perf_counter() - start

    def bands(self, bands: Iterator[Band]) -> Iterator[Band]:
        """Return the same bands, with the time taken that each takes to come."""
        while True:
            with self.restoring():
                band = next(bands, None)
            if band is None:
                return
            yield band

    def timings(self, read: float) -> Timings:
        """Divide the seconds since the start; `read` are those spent before that on reading."""
        write = time.perf_counter() - self._start - self._restored
        return Timings(read + self._read, self._restored - self._read, write)

    def _add_read(self, seconds: float) -> None:
        self._read += seconds


@dataclass(frozen=True)
class _TimedReader(ReaderOfReader):
    """Read bands and tell how long that takes."""

    took: Callable[[float], None]

    def read(self, start: int, stop: int) -> Band:
        begin = time.perf_counter()
        band = self.reader.read(start, stop)
        self.took(time.perf_counter() - begin)
        return band
