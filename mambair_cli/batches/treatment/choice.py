"""What each command does about an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from mambair_cli.batches.treatment.blocks import after_blocks, against_blocks
from mambair_cli.batches.treatment.fix import against_all
from mambair_cli.batches.treatment.noise import against_noise
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError

# What looks at images before they are restored.
_MEASURED = {"denoise": against_noise, "dejpeg": against_blocks, "fix": against_all}


def measures(request: Request, before: Request | None = None) -> bool:
    """Tell whether images are looked at before they are restored."""
    return before is not None or request.task in _MEASURED


def treatment_of(request: Request, *samples: Sample, before: Request | None = None) -> Treatment:
    """Decide what is done about an image, or once about all frames of an animation.

    Args:
        request: What is asked for.
        samples: One of an image; of an animation several of its frames.
        before: What is done first where the image needs it, as the weights for the request want.

    Raises:
        ImageError: What has to be known can neither be read nor measured.
    """
    if not measures(request, before):
        return Treatment((Step(request),))
    decide = partial(after_blocks, before) if before else _MEASURED[request.task]
    if len(samples) == 1:
        return decide(request, samples[0])
    return _one_for_all(list(_decided(decide, request, samples)))


def _decided(
    decide: Callable[[Request, Sample], Treatment], request: Request, samples: Sequence[Sample]
) -> Iterator[Treatment]:
    """Decide about each frame, but those that show too little."""
    failures = []
    for sample in samples:
        try:
            yield decide(request, sample)
        except ImageError as error:
            failures.append(error)
    if len(failures) == len(samples):
        raise failures[0]


def _one_for_all(treatments: Sequence[Treatment]) -> Treatment:
    """Take that in the middle between the gentlest and the strongest."""
    middle = sorted(treatments, key=_changes)[(len(treatments) - 1) // 2]
    return replace(middle, found=middle.found and f"all frames alike: {middle.found}")


def _changes(treatment: Treatment) -> tuple[float, float]:
    """Tell how much is changed: by how many steps, and by how strong ones."""
    return len(treatment.steps), sum(step.strength * (step.sigma or 1) for step in treatment.steps)
