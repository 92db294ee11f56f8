"""The choice among the known models, for a request that names no weights."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import CatalogueEntry, did_you_mean
from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.networks.spec import Task

Level = Literal["sigma", "quality"]

# The variants for enlarging that a device runs in reasonable time, the best first: what each of the
# two networks reaches, and takes, stands in docs/models.md. On MPS version 2 has not been run.
BEST_VARIANTS = {"cpu": ("v2-light", "light"), "mps": ("light", "v2-light")}
BEST_VARIANTS_ELSEWHERE = ("v2-base", "classic")
# Tasks whose models for larger scales serve smaller ones too, their results being reduced.
REDUCED: tuple[Task, ...] = ("realsr",)


@dataclass(frozen=True)
class Choice:
    """A chosen model.

    Attributes:
        entry: The model.
        notices: What the user should be told about the choice, a line each.
        stand_ins: Models that may take its place should it not be had, best first; none where the
            user named it.
    """

    entry: CatalogueEntry
    notices: tuple[str, ...] = ()
    stand_ins: tuple[CatalogueEntry, ...] = ()


def choose(
    task: Task,
    *,
    scale: int | None = None,
    sigma: float | None = None,
    quality: float | None = None,
    channels: int = 1,
    variant: str | None = None,
    device_type: str = "cpu",
) -> Choice:
    """Choose the model for a request that names no weights.

    Args:
        task: What is to be restored.
        scale: Asked output side over input side; None where the task has only one. Of `realsr`
            the model may be one for a larger scale.
        sigma: Asked noise level; images are adapted to the trained one that is taken.
        quality: Asked JPEG quality; the nearest trained one is taken.
        channels: Of the images: 3 takes weights for colour before others where the task has such
            beside those for gray.
        variant: Variant or id that the user asked for; None for the best one on the device.
        device_type: Device that will run it, as in `torch.device.type`.

    Returns:
        The model, with notices where it is not quite what was asked for.

    Raises:
        UsageError: No model has that scale or variant, or a needed level is missing.
    """
    rows = [entry for entry in catalogue.entries() if entry.task == task]
    rows = _at_scale(rows, task, scale)
    rows, sigma_notices = _at_level(rows, "sigma", sigma)
    rows, quality_notices = _at_level(rows, "quality", quality)
    notices = sigma_notices + quality_notices
    rows.sort(key=lambda entry: (_is_blind_in_colour(entry) != (channels > 1), entry.scale))
    if variant is not None:
        named = _named(rows, task, variant)
        return Choice(named, () if _is_blind_in_colour(named) else notices)
    ranks = {
        each: rank
        for rank, each in enumerate(BEST_VARIANTS.get(device_type, BEST_VARIANTS_ELSEWHERE))
        if task == "sr"
    }
    best, *others = sorted(
        rows,
        key=lambda entry: (
            _is_blind_in_colour(entry) != (channels > 1),
            entry.bundled is not None,
            ranks.get(entry.variant, len(ranks)),
            entry.scale,
        ),
    )
    # Weights for any quality are no neighbours of one.
    told = () if _is_blind_in_colour(best) else notices
    return Choice(best, told, tuple(others))


def _at_scale(rows: list[CatalogueEntry], task: Task, scale: int | None) -> list[CatalogueEntry]:
    scales = sorted({entry.scale for entry in rows})
    if scale is None and len(scales) == 1:
        return rows
    larger = task in REDUCED
    fitting = [each for each in scales if each == scale or (larger and scale and each > scale)]
    if not fitting:
        listed = ", ".join(map(str, scales))
        wrong = f"{task} needs a scale" if scale is None else f"no {task} model for scale {scale}"
        raise UsageError(wrong, f"--scale takes one of: {listed}")
    return [entry for entry in rows if entry.scale in fitting]


def trained_levels(task: Task, level: Level) -> list[int]:
    """List the noise levels or JPEG qualities for which a task has weights, in order."""
    rows = [entry for entry in catalogue.entries() if entry.task == task]
    return sorted({getattr(entry, level) for entry in rows} - {None})


def blind_in_colour(task: Task, variant: str | None = None) -> bool:
    """Tell whether a task has weights for colour, of a variant, that work at any JPEG quality."""
    return any(
        _is_blind_in_colour(entry) and variant in (None, entry.variant, entry.id)
        for entry in catalogue.entries()
        if entry.task == task
    )


def _is_blind_in_colour(entry: CatalogueEntry) -> bool:
    return entry.task == "dejpeg" and entry.channels > 1 and entry.quality is None


def nearest_level(level: Level, asked: float, trained: Collection[int]) -> int:
    """Return the trained level to take: what measured best on images with others.

    Noise above a level is made weaker by less contrast, which costs little up to 1.5 times the
    level. JPEG artefacts stay as they are: the quality that is nearest as a ratio.
    """
    if level == "sigma":
        return min((each for each in trained if 1.5 * each >= asked), default=max(trained))
    return min(sorted(trained), key=lambda value: abs(math.log(value / asked)))


def _at_level(
    rows: list[CatalogueEntry], level: Level, asked: float | None
) -> tuple[list[CatalogueEntry], tuple[str, ...]]:
    trained = {getattr(entry, level) for entry in rows} - {None}
    if not trained:
        return rows, ()
    listed = ", ".join(map(str, sorted(trained)))
    if asked is None:
        raise UsageError(f"{rows[0].task} needs a {level}", f"--{level} takes one of: {listed}")
    nearest = nearest_level(level, asked, trained)
    chosen = [entry for entry in rows if getattr(entry, level) in (nearest, None)]
    if nearest == asked:
        return chosen, ()
    if level == "sigma":
        return chosen, (f"sigma {asked:g}: images are adapted to the trained level {nearest}",)
    return chosen, (f"{level} {asked:g}: using the nearest trained level {nearest} of {listed}",)


def _named(rows: list[CatalogueEntry], task: Task, variant: str) -> CatalogueEntry:
    for entry in rows:
        if variant in (entry.variant, entry.id):
            return entry
    hint = did_you_mean(variant, [entry.variant for entry in rows])
    raise UsageError(f"no variant {variant!r} for {task} at scale {rows[0].scale}", hint)
