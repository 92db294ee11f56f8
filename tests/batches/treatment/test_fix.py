"""What is found in photographs of which nothing is known, and what is done about each."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mambair_cli.checkpoints.request import Request
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.training.degradations.camera import Camera
from mambair_cli.training.parsing import Span

FIX = Request("fix")


def tasks(found):
    return [step.request.task for step in found.steps]


def test_blocks_are_removed_in_the_cells_of_the_file(treated, cat):
    found = treated(FIX, cat, quality=41, subsampling="4:2:0")
    width, height = cat.size
    told = f"{width}x{height} pixels, JPEG quality 41 with 4:2:0, grain "
    assert tasks(found) == ["dejpeg", "denoise-real"]
    assert found.found.startswith(told)
    assert re.search(r": dejpeg, denoise --real at 4\d%$", found.found)
    assert found.steps[0].cells.factors == (2, 2)
    assert found.steps[0].request.choose("cpu").entry.id == "mambair-tiny-dejpeg-color"
    assert found.least_quality == 98


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"suffix": "png"}, ""),
        ({"quality": 97, "subsampling": "4:2:0"}, ", JPEG quality 97 with 4:2:0"),
        ({"quality": 98, "subsampling": "4:4:4"}, ", JPEG quality 98 with 4:4:4"),
    ],
)
def test_a_good_picture_is_left_alone(treated, cat, options, told):
    found = treated(FIX, cat, **options)
    width, height = cat.size
    assert found.steps == ()
    assert found.found == f"{width}x{height} pixels{told}: left alone, nothing to gain"


@pytest.mark.parametrize("sigma", [15, 30])
def test_strong_white_noise_is_removed_as_it_is_measured(treated, cat, noisy, sigma):
    found = treated(FIX, noisy(cat, sigma), "png")
    assert tasks(found) == ["denoise"]
    measured = found.steps[0].sigma
    assert measured == pytest.approx(sigma, rel=0.15)
    assert found.found.endswith(f", noise {measured:g}: denoise {measured:g}")
    assert found.finding.steps[0].sigma == measured


def test_of_weak_noise_the_less_is_removed_the_weaker_it_is(treated, cat, noisy):
    shares = []
    for sigma in (4, 7, 10):
        (step,) = treated(FIX, noisy(cat, sigma), "png").steps
        assert step.request.task == "denoise-real"
        assert step.fitting(ModelSpec("stub", "denoise-real", 1, 3)).strength == step.strength
        shares.append(step.strength)
    assert 0.3 < shares[0] < shares[1] < shares[2] <= 1


def test_noise_of_a_camera(treated, cat):
    camera = Camera("camera", Span(2e-3, 2e-3))
    even = np.asarray(cat.crop((0, 0, cat.width // 2 * 2, cat.height // 2 * 2)))
    noisy = Image.fromarray(camera(even, np.random.default_rng(0)))
    (step,) = treated(FIX, noisy, "png").steps
    assert step.request.task == "denoise-real"
    assert step.strength > 0.6


def test_noise_in_a_compressed_picture_is_removed_after_its_blocks(treated, cat, noisy):
    found = treated(FIX, noisy(cat, 12), quality=80)
    assert tasks(found) == ["dejpeg", "denoise-real"]
    assert found.steps[1].strength == pytest.approx(0.55)
    assert found.found.endswith(": dejpeg, denoise --real at 55%")
    finer = treated(FIX, noisy(cat, 4), quality=92)
    assert 0.2 < finer.steps[1].strength < 0.3
    assert tasks(treated(FIX, cat, quality=95)) == ["dejpeg"]


def test_colours_of_a_fine_file_that_show_noise_have_more_of_it_removed(treated, cat, noisy):
    shares = [treated(FIX, noisy(cat, 12), quality=q).steps[-1].strength for q in (92, 94, 97)]
    assert shares[0] > 0.5
    assert shares[1:] == pytest.approx([0.87, 1], abs=0.15)
    assert tasks(treated(FIX, noisy(cat, 12), quality=97)) == ["denoise-real"]


def test_of_a_blurred_picture_that_was_compressed_nothing_is_smoothed(treated, cat):
    """What detail the blur has left has a direction, and less of it would be further away."""
    found = treated(FIX, cat.filter(ImageFilter.GaussianBlur(1.5)), quality=70)
    assert found.found.endswith("4:2:0, blur 1.4: dejpeg")
    assert found.steps[0].cells.shrinking == 0
    assert treated(FIX, cat, quality=70).steps[0].cells.shrinking == 1


def test_a_blurred_picture_that_was_compressed_may_be_noisy_all_the_same(treated, cat, noisy):
    """Cameras smooth their noise, and large photographs are seldom as sharp as their pixels."""
    smooth = noisy(cat.filter(ImageFilter.GaussianBlur(3)), 14)
    found = treated(FIX, smooth.filter(ImageFilter.GaussianBlur(0.9)), quality=80)
    assert re.search(r"4:2:0, grain \d.\d, blur 1.\d: dejpeg, denoise --real at 4\d%$", found.found)
    assert found.steps[0].cells.shrinking > 0.9


def knitted(height=168, width=208):
    """Stitches of many colours."""
    colours = np.random.default_rng(1).integers(0, 256, (height // 3, width // 3 + 1, 3), np.uint8)
    return Image.fromarray(colours.repeat(3, axis=0).repeat(3, axis=1)[:, :width])


def test_detail_of_many_colours_is_no_noise(treated, noisy):
    """Where it lies beside smooth places noise of its strength would lie over those, too."""
    beside = knitted()
    beside.paste("gray", (0, 0, 52, 168))
    for picture in (knitted(), knitted(84, 104), beside, noisy(beside, 8)):
        assert treated(FIX, picture, "png").steps == ()
    (step,) = treated(FIX, noisy(Image.new("RGB", (208, 168), "gray"), 8), "png").steps
    assert step.strength > 0.9


def test_texture_of_colours_has_less_removed_that_was_compressed(treated, cat):
    beside = knitted()
    beside.paste("gray", (0, 0, 52, 168))
    share = treated(FIX, beside, quality=80, subsampling="4:4:4").steps[1].strength
    assert share < 0.5 * treated(FIX, cat, quality=80).steps[1].strength


def test_an_earlier_compression_is_told_beside_that_of_the_file(treated, cat, tmp_path):
    cat.save(tmp_path / "first.jpg", quality=30)
    first = Image.open(tmp_path / "first.jpg").crop((3, 5, *cat.size))
    found = treated(FIX, first, quality=96)
    assert "JPEG quality 96 with 4:2:0, blocks of an earlier JPEG quality 30, " in found.found
    assert tasks(found) == ["dejpeg", "denoise-real"]
    assert (found.steps[0].cells.top, found.steps[0].cells.left) == (3, 5)


def test_blur_is_told_and_nothing_claimed_against_it(treated, cat):
    found = treated(FIX, cat.filter(ImageFilter.GaussianBlur(1.5)), "png")
    assert found.steps == ()
    assert ", blur 1." in found.found


def test_a_size_makes_enlarging_the_last_step(treated, cat):
    found = treated(Request("fix", scale=2), cat, quality=30)
    assert tasks(found) == ["dejpeg", "denoise-real", "realsr"]
    assert re.search(r": dejpeg, denoise --real at 4\d%, realsr x2$", found.found)
    assert [step.scale for step in found.finding.steps] == [None, None, 2]
    assert found.least_quality == 0
    assert tasks(treated(Request("fix", scale=4), cat, "png")) == ["sr"]


def test_a_gray_file_takes_weights_for_gray(treated, cat):
    found = treated(FIX, cat.convert("L"), quality=30)
    assert found.steps[0].request.choose("cpu").entry.id == "mambair-tiny-dejpeg-q30"
    assert found.found.endswith("JPEG quality 30: dejpeg")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_noise_of_a_gray_picture_is_told_by_how_evenly_it_lies(treated, cat, noisy, mode):
    gray = cat.convert("L").convert("RGB")
    assert treated(FIX, gray.convert(mode), "png").steps == ()
    found = treated(FIX, noisy(gray, 20).split()[1].convert(mode), "png")
    assert tasks(found) == ["denoise"]
    assert found.steps[0].sigma == pytest.approx(20, rel=0.3)
    assert found.steps[0].strength > 0.9


def test_texture_that_is_as_wild_as_noise_is_left_alone(treated):
    """Where smooth patches lie between wild ones it is no noise, which would lie over all."""
    even = np.random.default_rng(0).normal(0, 1, (160, 224, 3))
    wildness = np.where(np.arange(224) < 70, 8, 16)[None, :, None]
    fur, noise = (
        Image.fromarray((128 + even * each).clip(0, 255).astype(np.uint8))
        for each in (wildness, 13)
    )
    assert treated(FIX, fur, "png").steps == ()
    assert tasks(treated(FIX, noise, "png")) == ["denoise"]


def test_tiny_and_even_pictures_are_left_alone(treated):
    even = Image.fromarray(np.full((40, 60, 3), 90, np.uint8))
    assert treated(FIX, even, "png").steps == ()
    assert treated(FIX, even.resize((7, 3)), "png").steps == ()
