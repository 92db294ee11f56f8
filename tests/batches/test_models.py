"""Which network of a model restores an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import mambair_cli as mambair
from mambair_cli.batches.models import LocalWeights, ModelCache, network_for
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Step
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.request import Request
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.pixels.coarse_noise import grain_of_noise
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.fitting import AS_TRAINED
from mambair_cli.restoration.phases import InPhases
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_image
from mambair_cli.restoration.sizing import Sizing

WEIGHTS = "mambair-tiny-denoise-real"
OPTIONS = RestoreOptions(tile=0)


@pytest.fixture(scope="module")
def model():
    return mambair.load_model(WEIGHTS, "cpu", "fp32")


def restoring():
    models = ModelCache(
        Request("denoise-real"),
        Compute.resolve("cpu", "fp32", "auto"),
        lambda _: LocalWeights(resolve(WEIGHTS)),
    )
    return restorer_with(models, OPTIONS, Sizing())


def sample_of(pixels):
    return Sample.of_image(RestorableImage(np.asarray(pixels)))


def test_coarse_noise_has_the_network_run_in_phases(model, shots):
    scene, shot = shots
    assert grain_of_noise(np.asarray(shot)).is_coarse
    phases = network_for(model, sample_of(shot))
    assert isinstance(phases, InPhases)
    assert phases.network is model.network
    # Images of a batch that need the same network go through it together.
    assert network_for(model, sample_of(shot)) is phases
    assert network_for(model, sample_of(scene)) is model.network


def test_what_strong_compression_leaves_is_not_coarse_noise(shots, tmp_path):
    _, shot = shots
    strongly, finely = tmp_path / "60.jpg", tmp_path / "90.jpg"
    shot.save(strongly, quality=60)
    Image.open(strongly).save(finely, quality=90)
    for file in (strongly, finely):
        pixels = np.asarray(Image.open(file))
        assert grain_of_noise(pixels).is_coarse
        assert not Sample.of_image(read_image(file)).has_coarse_noise
        assert not sample_of(pixels).has_coarse_noise  # A PNG file made of it.


def test_other_weights_never_do(model, shots):
    _, shot = shots
    other = replace(model, spec=replace(model.spec, id="mambair-unet-denoise-real"))
    assert network_for(other, sample_of(shot)) is model.network


def test_a_command_says_so_and_the_library_does_the_same(model, shots, monkeypatch):
    _, shot = shots
    seen, notes = [], []

    def forward(_, x):
        seen.append(tuple(x.shape))
        return x

    monkeypatch.setattr(InPhases, "forward", forward)
    restore = restoring().image
    image = RestorableImage(np.asarray(shot))
    restored = restore(image, lambda *_: None, notes.append)
    assert "coarse noise: removed from every second and every fourth pixel as well" in notes
    assert np.array_equal(restored.pixels, image.pixels)
    assert np.array_equal(np.asarray(mambair.restore(shot, model, tile=0)), image.pixels)
    assert seen == [(1, 3, 440, 480)] * 2


def test_an_animation_is_gray_where_all_its_frames_are(monkeypatch):
    seen = []

    def fitting(*_, gray):
        seen.append(gray)
        return AS_TRAINED

    monkeypatch.setattr(Step, "fitting", fitting)
    gray = RestorableImage(np.full((24, 24, 3), 90, np.uint8))
    red = RestorableImage(np.full((24, 24, 3), (200, 90, 90), np.uint8))
    restore = restoring()
    for frames in ([gray] * 3, [gray, gray, red], [red, gray, gray]):
        restore.of_frames(frames).image(frames[1], lambda *_: None, lambda _: None)
    assert seen == [True, False, False]


@pytest.mark.slow
def test_it_removes_more_of_coarse_noise_and_nothing_else_changes(model, shots):
    scene, shot = shots

    def error(pixels):
        return float(np.mean((np.asarray(pixels, np.float64) - scene) ** 2))

    pixels = np.asarray(shot)
    direct = restore_image(model.network, RestorableImage(pixels), model.spec, OPTIONS).pixels
    assert error(mambair.restore(shot, model, tile=0)) < 0.9 * error(direct) < error(pixels)
    sharp = pixels[::3, ::3]
    plain = restore_image(model.network, RestorableImage(sharp), model.spec, OPTIONS).pixels
    assert np.array_equal(mambair.restore(sharp, model, tile=0), plain)
