"""What each command does about an image."""

from __future__ import annotations

from mambair_cli.batches.treatment.blocks import after_blocks, against_blocks
from mambair_cli.batches.treatment.fix import against_all
from mambair_cli.batches.treatment.noise import against_noise
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.checkpoints.request import Request

# What looks at images before they are restored.
_MEASURED = {"denoise": against_noise, "dejpeg": against_blocks, "fix": against_all}


def measures(request: Request, before: Request | None = None) -> bool:
    """Tell whether images are looked at before they are restored."""
    return before is not None or request.task in _MEASURED


def treatment_of(request: Request, sample: Sample, before: Request | None = None) -> Treatment:
    """Decide what is done about an image.

    Args:
        request: What is asked for.
        sample: Of the image.
        before: What is done first where the image needs it, as the weights for the request want.

    Raises:
        ImageError: What has to be known can neither be read nor measured.
    """
    if before is not None:
        return after_blocks(before, request, sample)
    if (decide := _MEASURED.get(request.task)) is not None:
        return decide(request, sample)
    return Treatment((Step(request),))
