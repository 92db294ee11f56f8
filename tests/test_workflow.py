"""A task on a batch of images that a program holds as one tensor."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.batches import models
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.workflow import model_names, resize_masks, restore_batch


@pytest.fixture(scope="module")
def compute() -> Compute:
    return Compute.resolve("cpu", "fp32", "numba")


def test_models_are_named_by_variant_and_by_id():
    names = model_names()
    assert names[0] == "tiny"
    assert len(names) == len(set(names))
    assert {entry.id for entry in catalogue.entries()} < set(names)


def test_each_image_gets_the_weights_that_suit_it(compute):
    noise = torch.randn(2, 48, 64, 3, generator=torch.manual_seed(0))
    images = (0.5 + noise * torch.tensor([0.06, 0.2]).view(2, 1, 1, 1)).clamp(0, 1)
    told, seen = [], []
    restored = restore_batch(
        images,
        Request("denoise", variant="tiny"),
        RestoreOptions(),
        compute,
        lambda done, of: seen.append((done, of)),
        told.append,
    )
    assert restored.shape == images.shape
    found = [float(line.split()[-1]) for line in told if line.startswith("found: noise")]
    assert len(found) == 2
    assert found[0] < 20 < found[1]
    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))
    assert (restored.std((1, 2, 3)) < images.std((1, 2, 3)) / 3).all()


def test_what_progress_raises_ends_the_work(compute):
    class EndedError(Exception):
        pass

    def progress(done, _):
        if done:
            raise EndedError

    with pytest.raises(EndedError):
        restore_batch(
            torch.rand(2, 16, 24, 3),
            Request("sr", scale=2, variant="tiny"),
            RestoreOptions(tile=16),
            compute,
            progress,
        )


def test_programs_may_run_it_in_inference_mode(compute, monkeypatch):
    kept = []
    placed = models.Model.placed
    monkeypatch.setattr(
        models.Model, "placed", lambda *given: kept.append(placed(*given)) or kept[-1]
    )
    with torch.inference_mode():
        images = torch.rand(1, 8, 12, 3)
        request = Request("sr", scale=2, variant="tiny")
        restored = restore_batch(images, request, RestoreOptions(), compute)
    (model,) = kept
    assert not any(parameter.is_inference() for parameter in model.network.parameters())
    assert torch.equal(restored, restore_batch(images, request, RestoreOptions(), compute))


def test_masks_of_another_size():
    images, restored = torch.zeros(1, 8, 12, 3), torch.zeros(1, 16, 24, 3)
    with pytest.raises(ImageError, match="the mask has 9x7 pixels, and the image 12x8"):
        resize_masks(torch.rand(1, 7, 9), images, restored)
    ones = resize_masks(torch.ones(1, 7, 9), images, restored)
    assert torch.equal(ones, torch.ones(1, 16, 24))
