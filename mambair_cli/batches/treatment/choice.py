"""What each command does about an image."""

from __future__ import annotations

from mambair_cli.batches.treatment.blocks import against_blocks
from mambair_cli.batches.treatment.fix import against_all
from mambair_cli.batches.treatment.noise import against_noise
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.checkpoints.request import Request

# What looks at images before they are restored.
_MEASURED = {"denoise": against_noise, "dejpeg": against_blocks, "fix": against_all}


def measures(request: Request) -> bool:
    """Tell whether images are looked at before they are restored."""
    return request.task in _MEASURED


def treatment_of(request: Request, sample: Sample) -> Treatment:
    """Decide what is done about an image.

    Raises:
        ImageError: What has to be known can neither be read nor measured.
    """
    if (decide := _MEASURED.get(request.task)) is not None:
        return decide(request, sample)
    return Treatment((Step(request),))
