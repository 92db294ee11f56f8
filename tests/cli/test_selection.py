"""Which weights are taken where none are named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mambair_cli.api import load_model
from mambair_cli.batches.models import Model, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with, traces_in
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.checkpoints.request import Request
from mambair_cli.cli.console import Messages
from mambair_cli.cli.selection import models_for
from mambair_cli.disk import sha256_of
from mambair_cli.errors import CheckpointError, ImageError
from mambair_cli.imaging.files import InputFile, read_image
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.kernels.scan import dispatch
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing


@pytest.fixture
def cache():
    """Loads the models of a request on the CPU."""

    def build(request: Request) -> ModelCache:
        compute = Compute(torch.device("cpu"), "fp32", dispatch.REFERENCE)
        return models_for(request, compute, Messages())

    return build


@pytest.fixture
def dejpeg_bundled(monkeypatch, weights):
    """Makes the catalogue hold bundled weights for JPEG qualities 10 and 30."""
    entry = next(entry for entry in catalogue.entries() if entry.task == "dejpeg")
    published = {"repo": None, "files": (), "pattern": "", "bundled": "dejpeg-q30.safetensors"}
    rows = tuple(
        replace(entry, id=f"test-dejpeg-q{quality}", quality=quality, **published)
        for quality in (10, 30)
    )
    monkeypatch.setattr(catalogue, "entries", lambda: rows)
    monkeypatch.setattr(catalogue, "bundled_directory", lambda: weights)


def model_for(path: Path, models: ModelCache) -> Model:
    """What restores the image of a file."""
    (step,) = models.treatment_of(Sample.of_image(read_image(path))).steps
    return models.suited_to(step)


@pytest.mark.usefixtures("dejpeg_bundled")
def test_each_jpeg_gets_the_weights_for_its_quality(cache, make_image, tmp_path, capfd):
    image = make_image(tmp_path / "scan.jpg")
    chosen = cache(Request("dejpeg"))
    assert chosen.single is None
    first = model_for(image, chosen)
    assert first.spec.quality == 30
    assert model_for(image, chosen) is first
    assert "quality 75: using the nearest trained level 30 of 10, 30" in capfd.readouterr().err


@pytest.fixture
def dejpeg_in_colour(monkeypatch, dejpeg_bundled):  # noqa: ARG001 - adds to its catalogue
    """Makes the catalogue hold weights for colour files of any quality too."""
    rows = catalogue.entries()
    colour = {"id": "test-dejpeg-color", "channels": 3, "quality": None}
    row = replace(rows[0], **colour, bundled="dejpeg-color.safetensors")
    monkeypatch.setattr(catalogue, "entries", lambda: (*rows, row))


@pytest.mark.usefixtures("dejpeg_in_colour")
def test_colour_files_are_restored_in_colour_and_gray_ones_in_gray(mambair, jpeg, tmp_path):
    gray = tmp_path / "gray.jpg"
    Image.open(jpeg).convert("L").save(gray, quality=50)
    for options in ((), ("--quality", 50)):
        outcome = mambair("dejpeg", jpeg, gray, "--format", "png", "--overwrite", *options)
        assert outcome.status == 0, outcome.err
        assert "model: test-dejpeg-color" in outcome.err
        assert "model: test-dejpeg-q30" in outcome.err
    with Image.open(jpeg) as source, Image.open(tmp_path / "cat_dejpeg.png") as restored:
        before, after = (np.asarray(image.convert("YCbCr"), float) for image in (source, restored))
    assert np.abs(after - before)[..., 1:].max() > 2
    steps = Image.open(jpeg).quantization[0]
    # Random weights would do far worse than the cells allow.
    assert np.abs(after - before)[..., 0].mean() < max(steps) / 8


@pytest.mark.usefixtures("dejpeg_bundled")
def test_a_fine_file_comes_out_byte_for_byte_and_is_said(mambair, tmp_path):
    fine = tmp_path / "fine.jpg"
    picture = Image.open(Path(__file__).parents[2] / "examples" / "cat.png").convert("RGB")
    picture.save(fine, quality=97, comment=b"kept")
    outcome = mambair("dejpeg", fine)
    assert outcome.status == 0
    assert f"{fine}: found: JPEG quality 97: left alone, nothing to gain" in outcome.err
    assert (tmp_path / "fine_dejpeg.jpg").read_bytes() == fine.read_bytes()
    assert mambair("dejpeg", fine, "--quality-out", 90, "--overwrite").status == 0
    assert (tmp_path / "fine_dejpeg.jpg").stat().st_size < fine.stat().st_size
    assert mambair("dejpeg", fine, "--metadata", "strip", "--overwrite").status == 0
    assert b"kept" not in (tmp_path / "fine_dejpeg.jpg").read_bytes()


@pytest.mark.usefixtures("dejpeg_bundled")
def test_jpeg_results_keep_what_was_gained(mambair, jpeg, tmp_path):
    assert mambair("dejpeg", jpeg).status == 0
    assert read_image(tmp_path / "cat_dejpeg.jpg").metadata.jpeg_quality == 98
    assert mambair("dejpeg", jpeg, "--quality-out", 80, "--overwrite").status == 0
    assert read_image(tmp_path / "cat_dejpeg.jpg").metadata.jpeg_quality == 80


@pytest.mark.usefixtures("dejpeg_in_colour")
def test_bench_takes_the_weights_for_gray():
    assert Request("dejpeg", quality=30).choose("cpu").entry.channels == 1


@pytest.mark.usefixtures("dejpeg_bundled")
def test_a_file_that_says_no_quality(cache, photo):
    with pytest.raises(ImageError) as caught:
        model_for(photo, cache(Request("dejpeg")))
    assert caught.value.message == (
        "a PNG image does not say with which JPEG quality it was once saved, and no blocks of one "
        "are found in it"
    )
    assert caught.value.hint == "give it: --quality 10, 30 or 40"


@pytest.mark.usefixtures("dejpeg_bundled")
def test_a_given_quality_holds_for_all(cache, photo):
    chosen = cache(Request("dejpeg", quality=28))
    assert chosen.single is not None
    assert model_for(photo, chosen) is chosen.single


@pytest.mark.usefixtures("hub")
def test_weights_that_cannot_be_had_stop_the_run_at_once(cache):
    with pytest.raises(CheckpointError, match="there is no public model repository cguoh/MambaIR"):
        cache(Request("dejpeg", quality=10, variant="base"))


@pytest.mark.usefixtures("hub")
def test_the_bundled_weights_stand_in_with_a_line(cache, capfd):
    chosen = cache(Request("sr")).single
    assert chosen is not None
    assert chosen.spec.id == "mambair-tiny-sr-x4"
    assert (
        "using the bundled mambair-tiny-sr-x4: mambairv2-light-sr-x4 cannot be had: there is no "
        "public model repository cguoh/MambaIR"
    ) in capfd.readouterr().err
    with pytest.raises(CheckpointError):
        cache(Request("sr", variant="light"))


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        (Request("realsr"), "mambair-tiny-real-sr-x4"),
        (Request("denoise", sigma=50), "mambair-tiny-denoise-s50"),
        (Request("denoise-real"), "mambair-tiny-denoise-real"),
        (Request("dejpeg", quality=30, channels=1), "mambair-tiny-dejpeg-q30"),
    ],
    ids=lambda value: getattr(value, "task", None),
)
@pytest.mark.usefixtures("hub")
def test_bundled_weights_stand_in_for_every_task(cache, capfd, request_, model):
    chosen = cache(request_).single
    said = capfd.readouterr().err
    assert chosen.spec.id == model
    assert f"using the bundled {model}: " in said
    foreign = chosen.spec.task != request_.task
    assert ("looks like weights for mambair" in said) == foreign


@pytest.fixture
def jpeg(tmp_path):
    """A photograph of 90x70 pixels that was compressed."""
    path = tmp_path / "cat.jpg"
    picture = Image.open(Path(__file__).parents[2] / "examples" / "cat.png").convert("RGB")
    picture.crop((40, 30, 130, 100)).save(path, quality=50)
    return path


def notes_on(image: RestorableImage, models: ModelCache) -> list[str]:
    """What is noted of an image while it is restored."""
    notes = []
    restorer_with(models, RestoreOptions(tile=0), Sizing()).image(
        image, lambda *_: None, notes.append
    )
    return notes


def test_clean_weights_that_meet_a_photograph(cache, weights, jpeg):
    chosen = cache(Request("sr", weights=str(weights / "sr-x2.safetensors")))
    image = read_image(jpeg)
    noted, *others = notes_on(image, chosen)
    assert noted.startswith("looks like a photograph: JPEG blocks: blocking ")
    assert traces_in(noted) == "JPEG blocks"
    assert [traces_in(other) for other in others] == [None] * len(others)
    real = replace(chosen.single.spec, task="realsr")
    chosen.single = replace(chosen.single, spec=real)
    assert notes_on(image, chosen) == others


def test_the_warning_is_given_once_a_run(mambair, weights, jpeg, tmp_path):
    shutil.copy(jpeg, tmp_path / "second.jpg")
    outcome = mambair(
        "sr", jpeg, tmp_path / "second.jpg", "--weights", weights / "sr-x2.safetensors", "-v"
    )
    assert outcome.status == 0
    warning = (
        "warning: there are traces of a photograph (JPEG blocks), and test-sr-x2 was trained on "
        "clean images: it keeps them, and the rest may look just blurry\n"
        "hint: photographs are enlarged by: mambair fix --scale N, or mambair realsr\n"
    )
    assert warning in outcome.err
    assert outcome.err.count("warning: there are traces of a photograph") == 1
    assert outcome.err.count("looks like a photograph: JPEG blocks: blocking ") == 2


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_photograph_is_told_at_any_depth(cache, weights, jpeg, dtype):
    chosen = cache(Request("sr", weights=str(weights / "sr-x2.safetensors")))
    image = read_image(jpeg)
    pixels = image.pixels.astype(dtype)
    deep = replace(image, pixels=pixels * 257 if dtype == np.uint16 else pixels / np.float32(255))
    assert traces_in(notes_on(image, chosen)[0]) == "JPEG blocks"
    assert notes_on(image, chosen) == notes_on(deep, chosen)


@pytest.mark.usefixtures("dejpeg_bundled")
def test_the_weights_of_a_file_are_known_by_their_digest_before_they_are_loaded(
    cache, weights, make_image, tmp_path
):
    other = weights / "sr-x2.safetensors"
    rows = [replace(entry) for entry in catalogue.entries()]
    rows[0] = replace(rows[0], bundled=other.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "entries", lambda: tuple(rows))
        chosen = cache(Request("dejpeg"))
        rough, fine = tmp_path / "rough.jpg", make_image(tmp_path / "fine.jpg")
        Image.open(fine).save(rough, quality=8)
        assert chosen.digest_for(InputFile(rough)) == sha256_of(other)
        assert chosen.digest_for(InputFile(fine)) == sha256_of(weights / "dejpeg-q30.safetensors")
    assert model_for(fine, chosen).sha256 == chosen.digest_for(InputFile(fine))


@pytest.mark.usefixtures("dejpeg_bundled")
def test_a_file_that_says_no_quality_is_named(cache, photo):
    with pytest.raises(ImageError) as caught:
        cache(Request("dejpeg")).digest_for(InputFile(photo))
    assert caught.value.message == (
        f"{photo} does not say with which JPEG quality it was once saved, and no blocks of one are "
        "found in it"
    )


def test_weights_that_hold_for_all_have_one_digest(cache, weights, photo):
    file = weights / "sr-x2.safetensors"
    assert cache(Request("sr", weights=str(file))).digest_for(InputFile(photo)) == sha256_of(file)


@pytest.mark.usefixtures("dejpeg_bundled")
def test_other_weights_for_a_quality_make_the_result_again(
    mambair, make_image, weights, tmp_path, monkeypatch
):
    make_image(tmp_path / "in" / "a.jpg")
    arguments = ("dejpeg", tmp_path / "in", "-o", tmp_path / "out", "--resume")
    assert mambair(*arguments).lines == [str(tmp_path / "out" / "a_dejpeg.jpg")]
    assert mambair(*arguments).lines == []
    renewed = shutil.copytree(weights, tmp_path / "weights")
    file = renewed / "dejpeg-q30.safetensors"
    network = load_model(file)
    write_checkpoint(file, network.network, replace(network.spec, id="renewed"))
    monkeypatch.setattr(catalogue, "bundled_directory", lambda: renewed)
    assert mambair(*arguments).lines == [str(tmp_path / "out" / "a_dejpeg.jpg")]
