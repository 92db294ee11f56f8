"""What restores the images of files: each looked at, and run through the networks it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

from mambair_cli.batches.models import ModelCache
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Treatment
from mambair_cli.batches.work import OnNote, Restore
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.pixels.traces import measure_traces
from mambair_cli.restoration.chain import Link, restore_bands_in_turn, restore_in_turn
from mambair_cli.restoration.plan import RestoreOptions
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

    def image(source: RestorableImage, on_progress: Progress, on_note: OnNote) -> RestorableImage:
        treatment = _looked_at(models, Sample.of_image(source), on_note)
        if not treatment.steps:
            return replace(source, left_alone=True, least_quality=treatment.least_quality)
        links = _links(models, treatment)
        if links[0].spec.task == "sr":
            _note_traces(source, on_note)
        height, width = source.pixels.shape[:2]
        size = sizing.size_of(width, height, _scale(links))
        restored = restore_in_turn(links, source, options, on_progress, on_note)
        if sizing.is_free:
            restored = reduced(restored, *size)
        return replace(restored, least_quality=treatment.least_quality)

    def bands(
        reader: BandReader,
        look: Callable[[], BandReader],
        on_progress: Progress,
        on_note: OnNote,
    ) -> tuple[ImageHeader, Iterator[Band]] | None:
        treatment = _looked_at(models, Sample.of_bands(look()), on_note)
        if not treatment.steps:
            return None
        links, binary_alpha = _links(models, treatment), has_binary_alpha(look())
        header, restored = restore_bands_in_turn(
            links, reader, options, on_progress, on_note, binary_alpha=binary_alpha
        )
        if not sizing.is_free:
            return header, restored
        size = sizing.size_of(reader.header.width, reader.header.height, _scale(links))
        reduction = Reduction(header, *size, binary_alpha)
        return reduction.result, reduction.bands(restored)

    return Restore(image, bands)


def _looked_at(models: ModelCache, sample: Sample, on_note: OnNote) -> Treatment:
    treatment = models.treatment_of(sample)
    if treatment.found:
        on_note(treatment.finding)
    return treatment


def _links(models: ModelCache, treatment: Treatment) -> list[Link]:
    suited = [(step, models.suited_to(step)) for step in treatment.steps]
    return [Link(model.network, model.spec, step.fitting(model.spec)) for step, model in suited]


def _scale(links: list[Link]) -> int:
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
