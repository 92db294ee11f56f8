"""What restores the images of files: each looked at, and run through the networks it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod

import torch
from torch import nn

from mambair_cli.batches.beside import SMALL_FILE
from mambair_cli.batches.models import ModelCache, network_for
from mambair_cli.batches.treatment.sample import Sample, samples_of_frames
from mambair_cli.batches.treatment.steps import Treatment
from mambair_cli.batches.work import ImageTiles, OnNote, Restore
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.pixels.traces import measure_traces
from mambair_cli.restoration.chain import Link, restore_bands_in_turn, restore_in_turn
from mambair_cli.restoration.engine import batches
from mambair_cli.restoration.plan import LARGEST_BATCH, RestoreOptions
from mambair_cli.restoration.reduction import Reduction, reduced
from mambair_cli.restoration.sizing import Sizing
from mambair_cli.restoration.streaming import has_binary_alpha
from mambair_cli.restoration.tiled_run import Notice, Progress

# What a note on an image begins with that shows traces of a camera, for weights that keep them.
LOOKS_LIKE_A_PHOTOGRAPH = "looks like a photograph: "


def restorer_with(models: ModelCache, options: RestoreOptions, sizing: Sizing) -> Restore:
    """Give what restores the images of files with the models that are suited to them.

    Images with traces of a camera are noted where their weights were trained on clean ones.

    Args:
        models: On their device.
        options: How images are restored.
        sizing: Which size results are asked to have.
    """
    return _Restorer(models, options, sizing).restore


@dataclass(frozen=True, eq=False)
class _Restorer:
    """Restores images and files in bands.

    Attributes:
        models: On their device.
        options: How images are restored.
        sizing: Which size results are asked to have.
        decided: What is done about every image; None to look at each.
    """

    models: ModelCache
    options: RestoreOptions
    sizing: Sizing
    decided: _Decision | None = None

    @property
    def restore(self) -> Restore:
        """Give what batches call."""
        most = _most_pixels(self.models.device)
        return Restore(self._images, self._bands, most, self._of_frames)

    def _images(
        self, sources: Sequence[RestorableImage], on_progress: Progress, on_note: OnNote
    ) -> list[RestorableImage]:
        looked = [_Looked.at(source, self.models, self.decided, on_note) for source in sources]
        tiles, results = ImageTiles(len(sources), on_progress), list[RestorableImage]()
        for networks, group in groupby(looked, lambda each: each.networks):
            alike = list(group)
            on_tile = tiles.of(len(alike))
            if not networks or self._changes_nothing(alike[0].links):
                results += map(_kept, alike)
            else:
                results += self._alike(alike, on_tile, on_note)
        return results

    def _changes_nothing(self, links: Sequence[Link]) -> bool:
        return self.options.strength == 0 and _scale(links) == 1

    def _alike(
        self, alike: Sequence[_Looked], on_progress: Progress, on_note: OnNote
    ) -> Iterator[RestorableImage]:
        height, width = alike[0].source.pixels.shape[:2]
        size = self.sizing.size_of(width, height, _scale(alike[0].links))
        chains, sources = [each.links for each in alike], [each.source for each in alike]
        made = restore_in_turn(chains, sources, self.options, on_progress, on_note)
        for image, each in zip(made, alike, strict=True):
            resized = reduced(image, *size) if self.sizing.is_free else image
            yield replace(resized, least_quality=each.treatment.least_quality)

    def _bands(
        self,
        reader: BandReader,
        look: Callable[[], BandReader],
        on_progress: Progress,
        on_note: OnNote,
    ) -> tuple[ImageHeader, Iterator[Band]] | None:
        decision = _Decision.on(self.models, [Sample.of_bands(look())])
        treatment = decision.told(on_note)
        if not treatment.steps:
            return None
        links = _links(self.models, decision, on_note)
        if self._changes_nothing(links):
            return None
        binary_alpha = has_binary_alpha(look())
        header, restored = restore_bands_in_turn(
            links, reader, self.options, on_progress, on_note, binary_alpha=binary_alpha
        )
        if not self.sizing.is_free:
            return header, restored
        size = self.sizing.size_of(reader.header.width, reader.header.height, _scale(links))
        reduction = Reduction(header, *size, binary_alpha)
        return reduction.result, reduction.bands(restored)

    def _of_frames(self, frames: Sequence[RestorableImage]) -> Restore:
        return replace(self, decided=_Decision.on(self.models, samples_of_frames(frames))).restore


def _most_pixels(device: torch.device) -> int:
    """Tell of how many pixels images are better restored together than one by one."""
    if batches(device):
        return LARGEST_BATCH
    threads = torch.get_num_threads()
    return min(threads * SMALL_FILE, LARGEST_BATCH) if device.type == "cpu" and threads > 1 else 0


@dataclass(frozen=True, eq=False)
class _Decision:
    """What is done about images that a sample stands for; gray where all that were seen are."""

    treatment: Treatment
    sample: Sample
    gray: bool

    @classmethod
    def on(cls, models: ModelCache, samples: Sequence[Sample]) -> _Decision:
        """Decide about an image, or about all frames of an animation."""
        gray = all(sample.is_gray for sample in samples)
        return cls(models.treatment_of(*samples), samples[len(samples) // 2], gray)

    def told(self, on_note: OnNote) -> Treatment:
        if self.treatment.found:
            on_note(self.treatment.finding)
        return self.treatment


@dataclass(frozen=True, eq=False)
class _Looked:
    """An image, and what is done about it by which networks."""

    source: RestorableImage
    treatment: Treatment
    links: list[Link]

    @classmethod
    def at(
        cls,
        source: RestorableImage,
        models: ModelCache,
        decided: _Decision | None,
        on_note: OnNote,
    ) -> _Looked:
        decision = decided or _Decision.on(models, [Sample.of_image(source)])
        treatment = decision.told(on_note)
        links = _links(models, decision, on_note)
        if links and links[0].spec.task == "sr":
            _note_traces(source, on_note)
        return cls(source, treatment, links)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        return tuple(link.network for link in self.links)


def _kept(looked: _Looked) -> RestorableImage:
    return replace(looked.source, left_alone=True, least_quality=looked.treatment.least_quality)


def _links(models: ModelCache, decision: _Decision, on_note: OnNote) -> list[Link]:
    links = []
    for step in decision.treatment.steps:
        model = models.suited_to(step)
        network = network_for(model, decision.sample)
        if network is not model.network:
            on_note("coarse noise: removed from every second and every fourth pixel as well")
        fitting = step.fitting(model.spec, gray=decision.gray)
        links.append(Link(network, model.spec, fitting))
    return links


def _scale(links: Sequence[Link]) -> int:
    return prod(link.spec.scale for link in links)


def _note_traces(image: RestorableImage, on_notice: Notice) -> None:
    traces = measure_traces(in_8_bits(image))
    if traces.found is not None:
        measured = f"blocking {traces.blocking:.2f}, noise {traces.noise:.1f}"
        on_notice(f"{LOOKS_LIKE_A_PHOTOGRAPH}{traces.found}: {measured}")


def traces_in(note: str) -> str | None:
    """Return the traces of a camera that a note on an image names; None where it names none."""
    if not note.startswith(LOOKS_LIKE_A_PHOTOGRAPH):
        return None
    return note.removeprefix(LOOKS_LIKE_A_PHOTOGRAPH).rpartition(":")[0]
