"""Images of one file, frames of a stream, images in memory: a GPU's batches are filled by them."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mambair_cli import workflow
from mambair_cli.batches.treatment import restorers
from mambair_cli.batches.treatment.frames import restored_frames
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.batches.work import ImageTiles, Restore
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import ImageSequence, RestorableImage, Timing
from mambair_cli.imaging.y4m import Frame, FrameReader, StreamHeader
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing

MOST = 5 * 20 * 30


class Network(nn.Module):
    """Enlarges twice and notes how many it was shown at a time."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain), requires_grad=False)
        self.shown = []

    def forward(self, x):
        self.shown.append(len(x))
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) * self.gain


class Models:
    """Two networks: for dark and for bright images; black ones are left alone."""

    device = torch.device("cpu")

    def __init__(self):
        self.dark, self.bright = Network(0.5), Network(0.25)
        self.steps = {network: Step(Request("realsr", 2)) for network in (self.dark, self.bright)}

    def treatment_of(self, *samples):
        brightest = np.median([sample.pixels.max() for sample in samples])
        if not brightest:
            return Treatment((), "black")
        return Treatment((self.steps[self.dark if brightest < 128 else self.bright],), "seen")

    def suited_to(self, step):
        network = next(network for network, each in self.steps.items() if each is step)
        return SimpleNamespace(network=network, spec=ModelSpec("stub", "realsr", 2, 3))


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def restore(models, monkeypatch):
    """Restores as on a GPU, where plans fill batches and tiles do not run side by side."""
    from mambair_cli.restoration.plan import Limits

    monkeypatch.setattr(restorers, "batches", lambda _: True)
    monkeypatch.setattr(restorers, "LARGEST_BATCH", MOST)
    plain = Limits(1000, 10**9, batches=True)
    monkeypatch.setattr("mambair_cli.restoration.restorer.limits_of", lambda *_, **__: plain)
    return restorers.restorer_with(models, RestoreOptions(tile=0), Sizing())


def flat(*levels, size=(20, 30)):
    return tuple(RestorableImage(np.full((*size, 3), level, np.uint8)) for level in levels)


def test_frames_fill_batches_and_each_is_what_it_is_alone(restore, models):
    told, notes = [], []
    sequence = ImageSequence(flat(*range(40, 52)))
    made = restore.sequence(sequence, lambda *tiles: told.append(tiles), notes.append)
    assert models.dark.shown == [4, 4, 4]
    assert notes.count("running 30x20 pixels whole, 4 together") == 1
    assert told[-1] == (12, 12)
    assert [total for _, total in told] == [12] * len(told)
    for image, result in zip(sequence.images, made.images, strict=True):
        alone = restore.image(image, lambda *_: None, lambda _: None)
        np.testing.assert_array_equal(result.pixels, alone.pixels)
        assert result.pixels.shape == (40, 60, 3)


def test_frames_of_other_networks_sizes_and_kinds_run_apart_in_their_order(restore, models):
    images = (*flat(40, 50, 200, 60, 0, 70, 80), *flat(90, size=(10, 30)))
    made = restore.sequence(ImageSequence(images), lambda *_: None, lambda _: None).images
    assert models.dark.shown == [2, 1, 2, 1]
    assert models.bright.shown == [1]
    levels = [int(image.pixels[0, 0, 0]) for image in made]
    assert levels == [20, 25, 50, 30, 0, 35, 40, 45]
    assert [image.left_alone for image in made] == [level == 0 for level in levels]


def test_frames_of_an_animation_go_through_one_network(restore, models):
    """Where each was treated in its own way it would flicker."""
    images, notes = flat(40, 200, 50, 0, 60), []
    made = restore.sequence(ImageSequence(images, Timing((9,) * 5)), lambda *_: None, notes.append)
    assert (models.dark.shown, models.bright.shown) == ([5], [])
    levels = [int(image.pixels[0, 0, 0]) for image in made.images]
    assert levels == [20, 100, 25, 0, 30]
    assert not any(image.left_alone for image in made.images)
    assert [note.text for note in notes if not isinstance(note, str)] == ["seen"]


def stream(frames, lost=0):
    header, file = StreamHeader.parse(b"YUV4MPEG2 W30 H20 C444\n", "it"), io.BytesIO()
    file.write(header.line)
    for index in range(frames):
        levels = (60 + index, 128, 128)
        Frame(tuple(np.full((20, 30), level, np.uint8) for level in levels)).written_to(file)
    return FrameReader(io.BytesIO(file.getvalue()[: -lost or None]), "it")


def test_frames_of_a_stream_are_read_as_far_as_they_run_together(restore, models):
    results = restored_frames(stream(12), restore, lambda _: None)
    assert models.dark.shown == []
    next(results)
    assert models.dark.shown == [5]
    assert len(list(results)) == 11
    assert models.dark.shown == [5, 5, 2]


def test_what_came_whole_of_a_cut_stream_is_restored(restore):
    results, came = restored_frames(stream(8, lost=7), restore, lambda _: None), []
    with pytest.raises(ImageError, match="it ends within frame 8"):
        came.extend(frame for _, frame in results)
    results, came = restored_frames(stream(8, lost=7), restore, lambda _: None), []
    for _ in range(7):
        came.append(next(results)[1])
    alone = [frame for _, frame in restored_frames(stream(7), restore, lambda _: None)]
    for one, other in zip(came, alone, strict=True):
        np.testing.assert_array_equal(one.planes[0], other.planes[0])


def test_images_in_memory_run_together(restore, models, monkeypatch):
    monkeypatch.setattr(workflow, "ModelCache", lambda *_: models)
    monkeypatch.setattr(workflow, "restorer_with", lambda *_: restore)
    images, told = torch.linspace(0.1, 0.4, 7)[:, None, None, None].expand(7, 20, 30, 3), []
    compute = Compute(torch.device("cpu"), "fp32", None)
    made = workflow.restore_batch(
        images, Request("realsr", 2), RestoreOptions(), compute, lambda *each: told.append(each)
    )
    assert models.dark.shown == [4, 3]
    torch.testing.assert_close(made[:, 0, 0, 0], images[:, 0, 0, 0] / 2)
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_on_a_cpu_images_run_one_by_one(models):
    one = restorers.restorer_with(models, RestoreOptions(tile=0), Sizing())
    made = one.sequence(ImageSequence(flat(40, 50)), lambda *_: None, lambda _: None)
    assert models.dark.shown == [1, 1]
    assert len(made.images) == 2
    assert one.together(1, 1) == 1


def test_tiles_of_several_images_are_added_up():
    told = []
    tiles = ImageTiles(5, lambda *each: told.append(each))
    together = tiles.of(3)
    together(0, 6)
    together(6, 6)
    alone = tiles.of(1)
    alone(1, 4)
    tiles.of(1)(2, 2)
    assert told == [(0, 10), (6, 10), (7, 14), (12, 12)]
    assert Restore(lambda *_: [], lambda *_: None).together(9, 9) == 1
