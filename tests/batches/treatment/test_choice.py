"""What each command does about an image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mambair_cli.batches.treatment.choice import treatment_of
from mambair_cli.batches.treatment.sample import Sample, samples_of_frames
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import RestorableImage


@pytest.mark.parametrize("task", ["sr", "realsr", "denoise-real"])
def test_other_tasks_measure_nothing(treated, cat, task):
    request = Request(task)
    assert treated(request, cat, "png").steps[0].request is request


def frames_of(*pictures):
    return [Sample.of_image(RestorableImage(np.asarray(each))) for each in pictures]


def test_frames_of_an_animation_are_treated_alike(cat, noisy):
    """The middle of what single frames would need: titles and single wild frames do not decide."""
    frames = frames_of(*(noisy(cat, sigma) for sigma in (30, 6, 14, 15, 16)), noisy(cat, 16), cat)
    alone = [treatment_of(Request("denoise"), frame) for frame in frames]
    together = treatment_of(Request("denoise"), *frames)
    assert [bool(each.steps) for each in alone] == [True] * 6 + [False]
    assert together.steps[0].sigma == alone[3].steps[0].sigma
    assert together.found == f"all frames alike: {alone[3].found}"
    still = treatment_of(Request("fix"), *frames_of(cat, cat, noisy(cat, 20)))
    assert still.steps == ()
    assert still.found.startswith("all frames alike: ")


def test_frames_without_blocks_leave_the_decision_to_others(cat, tmp_path):
    cat.save(tmp_path / "blocks.jpg", quality=30)
    blocks = Image.open(tmp_path / "blocks.jpg")
    found = treatment_of(Request("dejpeg"), *frames_of(cat, blocks, cat))
    assert found.found == "all frames alike: blocks of JPEG quality 30"
    with pytest.raises(ImageError, match="no blocks of one are found"):
        treatment_of(Request("dejpeg"), *frames_of(cat, cat))


@pytest.mark.parametrize(
    ("frames", "looked_at"),
    [(1, [0]), (3, [0, 1, 2]), (9, list(range(9))), (90, [5, 15, 25, 35, 45, 55, 65, 75, 85])],
)
def test_frames_that_are_looked_at_lie_evenly(frames, looked_at):
    images = [RestorableImage(np.full((40, 48, 3), level, np.uint8)) for level in range(frames)]
    assert [int(each.pixels[0, 0, 0]) for each in samples_of_frames(images)] == looked_at
