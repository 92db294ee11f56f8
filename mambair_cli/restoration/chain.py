"""Restores images by several networks, one after the other, whole or in bands.

Between networks values are floating point: they are rounded once, to the type of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from mambair_cli.imaging.image import (
    Band,
    BandReader,
    ImageHeader,
    Pixels,
    ReaderOfReader,
    RestorableImage,
    ValueRange,
)
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.fitting import Fitting
from mambair_cli.restoration.memory.available import available_main_memory, resident_memory
from mambair_cli.restoration.reduction import Window
from mambair_cli.restoration.restorer import Notice, Progress, RestoreOptions, restore_images
from mambair_cli.restoration.streaming import restore_bands

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Link:
    """One network of several.

    Attributes:
        network: As for `restorer.restore_tensor`.
        spec: Likewise.
        fitting: How the network is used for the image.
    """

    network: nn.Module
    spec: ModelSpec
    fitting: Fitting


def restore_in_turn(
    chains: Sequence[Sequence[Link]],
    images: Sequence[RestorableImage],
    options: RestoreOptions,
    on_progress: Progress,
    on_notice: Notice,
) -> list[RestorableImage]:
    """Restore images of one size and kind by each network in turn.

    Args:
        chains: For each image at least one link; the networks are the same for all.
        images: As for `restorer.restore_images`.
        options: Of all networks. Each keeps its share of the change (`strength`).
        on_progress: Told of the tiles of all together.
        on_notice: As for `restorer.restore_tensor`.

    Raises:
        BackendError: As for `restorer.restore_tensor`.
        MemoryLimitError: Likewise.
    """
    dtype, tiles = images[0].pixels.dtype, _Tiles(len(chains[0]), on_progress)
    between = _FLOAT if len(chains[0]) > 1 else dtype
    made = [replace(image, **_values(image, between)) for image in images]
    for index, links in enumerate(zip(*chains, strict=True)):
        made = restore_images(
            links[0].network,
            made,
            links[0].spec,
            options.suited_to(links[0].spec),
            tiles.of(index),
            on_notice,
            fittings=[link.fitting for link in links],
        )
    return [replace(image, **_values(image, dtype)) for image in made]


def restore_bands_in_turn(
    links: Sequence[Link],
    reader: BandReader,
    options: RestoreOptions,
    on_progress: Progress,
    on_notice: Notice,
    *,
    binary_alpha: bool,
) -> tuple[ImageHeader, Iterator[Band]]:
    """Restore an image by each network in turn while it is read and written.

    Args:
        links: At least one.
        reader: The open file.
        options: As for `restore_in_turn`; the networks share the memory.
        on_progress: Told of the tiles of all together.
        on_notice: As for `restorer.restore_tensor`.
        binary_alpha: As for `streaming.restore_bands`.

    Returns:
        As `streaming.restore_bands`.

    Raises:
        BackendError: As for `streaming.restore_bands`.
        MemoryLimitError: Likewise.
        ImageError: Likewise.
    """
    dtype, tiles = reader.header.dtype, _Tiles(len(links), on_progress)
    source: BandReader = reader
    if len(links) > 1:
        share = available_main_memory(options.max_memory) // len(links)
        options = replace(options, max_memory=resident_memory() + share)
        source = _Converted(reader)
    for index, link in enumerate(links):
        header, bands = restore_bands(
            link.network,
            source,
            link.spec,
            options.suited_to(link.spec),
            tiles.of(index),
            on_notice,
            binary_alpha=binary_alpha,
            fitting=link.fitting,
        )
        source = _Restored(reader, header, Window(bands))
    if len(links) > 1:
        bands = (Band(**_values(band, dtype)) for band in bands)
    return replace(header, dtype=dtype), bands


def _values(image: RestorableImage | Band, dtype: np.dtype[Any]) -> dict[str, Any]:
    alpha = None if image.alpha is None else _as_type(image.alpha, dtype)
    return {"pixels": _as_type(image.pixels, dtype), "alpha": alpha}


def _as_type(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Convert between floating point, where 1 is white, and the type of an image."""
    if values.dtype == dtype:
        return values
    if dtype == _FLOAT:
        return np.asarray(values / np.float32(ValueRange.of(values.dtype).white), dtype)
    white = ValueRange.of(dtype).white
    return np.asarray(np.rint(values * np.float32(white)).clip(0, white).astype(dtype))


@dataclass(frozen=True)
class _Converted(ReaderOfReader):
    """An open file, read in floating point."""

    @property
    def header(self) -> ImageHeader:
        return replace(self.reader.header, dtype=_FLOAT)

    def read(self, start: int, stop: int) -> Band:
        return Band(**_values(self.reader.read(start, stop), _FLOAT))


@dataclass(frozen=True)
class _Restored(ReaderOfReader):
    """What one network makes of an open file, for the next to read."""

    made: ImageHeader
    window: Window

    @property
    def header(self) -> ImageHeader:
        return self.made

    def read(self, start: int, stop: int) -> Band:
        return self.window.rows(slice(start, stop))


class _Tiles:
    """Add up the tiles of several networks, in turn or at once."""

    def __init__(self, networks: int, on_progress: Progress) -> None:
        self._done = [0] * networks
        self._totals = [0] * networks
        self._on_progress = on_progress

    def of(self, index: int) -> Progress:
        """Return what is told of one network; those to come are guessed to have as many."""

        def report(done: int, total: int) -> None:
            self._done[index], self._totals[index] = done, total
            in_all = sum(each or total for each in self._totals)
            self._on_progress(sum(self._done), in_all)

        return report
