"""What is found in an image, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.batches.treatment import Sample, fitted_to_noise, treatment_of
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_image
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.fitting import AS_TRAINED

CAT = Path(__file__).parents[2] / "examples" / "cat.png"


@pytest.fixture
def cat():
    return Image.open(CAT).convert("RGB")


@pytest.fixture
def treated(tmp_path):
    """Saves a picture, and tells what is done about the file."""

    def treat(request, picture, suffix="jpg", **options):
        path = tmp_path / f"photo.{suffix}"
        picture.save(path, **options)
        return treatment_of(request, Sample.of_image(read_image(path)))

    return treat


def noisy(picture, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).round().astype(np.uint8))


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4", "4:2:2"])
def test_a_jpeg_file_is_kept_in_its_own_cells(treated, cat, subsampling):
    found = treated(Request("dejpeg"), cat, quality=40, subsampling=subsampling)
    assert found.request.quality == 40
    assert found.found == "JPEG quality 40"
    assert found.cells.luma[0, 0] == pytest.approx(0.35 * 20)
    assert found.cells.factors == {"4:2:0": (2, 2), "4:4:4": (1, 1), "4:2:2": (1, 2)}[subsampling]


def test_inks_move_less_and_fine_ones_not_at_all(treated, cat):
    found = treated(Request("dejpeg"), cat.convert("CMYK"), quality=40)
    assert found.cells.luma[0, 0] == pytest.approx(0.2 * 0.35 * 20)
    fine = treated(Request("dejpeg"), cat.convert("CMYK"), quality=90)
    assert fine.request is None


@pytest.mark.parametrize("quality", [96, 98, 100])
def test_a_fine_file_is_left_alone(treated, cat, quality):
    found = treated(Request("dejpeg"), cat, quality=quality)
    assert found.request is None
    assert found.found == f"JPEG quality {quality}: left alone, nothing to gain"


def test_an_earlier_compression_is_found_under_a_fine_one(treated, cat, tmp_path):
    cat.save(tmp_path / "first.jpg", quality=30)
    first = Image.open(tmp_path / "first.jpg").crop((3, 5, *cat.size))
    found = treated(Request("dejpeg"), first, quality=96)
    assert found.request.quality == 30
    assert found.found == "blocks of an earlier JPEG quality 30"
    assert (found.cells.top, found.cells.left) == (3, 5)


def test_blocks_in_a_png(treated, cat, tmp_path):
    cat.save(tmp_path / "first.jpg", quality=50)
    cut = Image.open(tmp_path / "first.jpg").crop((0, 2, *cat.size))
    found = treated(Request("dejpeg"), cut, "png")
    assert abs(found.request.quality - 50) <= 2
    assert (found.cells.top, found.cells.left) == (6, 0)
    named = treated(Request("dejpeg", quality=20), cut, "png")
    assert (named.request.quality, named.cells.top, named.found) == (20, 6, "")


def test_no_blocks_and_no_quality(treated, cat):
    with pytest.raises(ImageError, match="no blocks of one are found in it"):
        treated(Request("dejpeg"), cat, "png")
    assert treated(Request("dejpeg", quality=20), cat, "png").cells is not None
    assert treated(Request("dejpeg", weights="mine.pth"), cat, "png").cells is None


def test_colour_files_get_weights_for_colour_where_there_are_some(treated, cat, monkeypatch):
    gray = treated(Request("dejpeg"), cat.convert("L"), quality=40).request
    assert gray.choose("cpu").entry.channels == 1
    rows = list(catalogue.entries())
    tiny = next(entry for entry in rows if entry.id == "mambair-tiny-dejpeg-q10")
    rows.append(replace(tiny, id="mambair-tiny-dejpeg-color", channels=3, quality=None))
    monkeypatch.setattr(catalogue, "entries", lambda: tuple(rows))
    assert Request("dejpeg", quality=40).by_file
    colour = treated(Request("dejpeg"), cat, quality=60).request
    assert colour.choose("cpu").entry.id == "mambair-tiny-dejpeg-color"
    assert colour.choose("cpu").notices == ()
    assert not colour.by_file
    gray = treated(Request("dejpeg"), cat.convert("L"), quality=40).request
    assert gray.choose("cpu").entry.channels == 1
    assert "mambair-tiny-dejpeg-color" in {
        case.choose("cpu").entry.id for case in Request("dejpeg").every_case()
    }


@pytest.mark.parametrize(("sigma", "level"), [(8, 15), (20, 15), (33, 25), (45, 50)])
def test_noise_is_measured(treated, cat, sigma, level):
    found = treated(Request("denoise"), noisy(cat, sigma), "png")
    assert found.sigma == pytest.approx(sigma, rel=0.15)
    assert found.request.sigma == level
    assert found.found == f"noise {found.sigma:g}"


def test_a_clean_image_is_left_alone(treated, cat):
    found = treated(Request("denoise"), cat, "png")
    assert found.request is None
    assert found.found.endswith(": left alone, nothing to gain")
    assert treated(Request("denoise", sigma=0), cat, "png").request is None


def test_a_given_sigma_is_taken_as_it_is(treated, cat):
    found = treated(Request("denoise", sigma=20), cat, "png")
    assert (found.request.sigma, found.sigma, found.found) == (20, 20, "")
    fitting = found.fitting(ModelSpec("stub", "denoise", 1, 3, 15))
    assert (fitting.contrast, fitting.strength) == (0.75, 1)
    assert found.fitting(ModelSpec("stub", "denoise", 1, 3)) is AS_TRAINED


def test_noise_between_levels_takes_contrast_and_strength():
    assert fitted_to_noise(25, 25) is AS_TRAINED
    assert fitted_to_noise(40, 50).contrast == 1.25
    weak, strong = fitted_to_noise(4, 15), fitted_to_noise(72, 50)
    assert (weak.contrast, weak.strength) == (pytest.approx((15 / 4) ** 0.5), pytest.approx(0.4))
    assert (strong.contrast, strong.strength) == (pytest.approx((50 / 72) ** 0.5), 1)


@pytest.mark.parametrize("task", ["sr", "realsr", "denoise-real"])
def test_other_tasks_measure_nothing(treated, cat, task):
    request = Request(task)
    assert treated(request, cat, "png").request is request
