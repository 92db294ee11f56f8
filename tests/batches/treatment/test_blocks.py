"""What is done about the blocks of JPEG compression."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from mambair_cli.batches.treatment.choice import treatment_of
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_image


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4", "4:2:2"])
def test_a_jpeg_file_is_kept_in_its_own_cells(treated, cat, subsampling):
    found = treated(Request("dejpeg"), cat, quality=40, subsampling=subsampling)
    assert found.steps[0].request.quality == 40
    assert found.found == "JPEG quality 40"
    assert found.steps[0].cells.luma[0, 0] == pytest.approx(0.35 * 20)
    assert (
        found.steps[0].cells.factors
        == {"4:2:0": (2, 2), "4:4:4": (1, 1), "4:2:2": (1, 2)}[subsampling]
    )


def test_inks_move_less_and_fine_ones_not_at_all(treated, cat):
    found = treated(Request("dejpeg"), cat.convert("CMYK"), quality=40)
    assert found.steps[0].cells.luma[0, 0] == pytest.approx(0.2 * 0.35 * 20)
    fine = treated(Request("dejpeg"), cat.convert("CMYK"), quality=90)
    assert fine.steps == ()


@pytest.mark.parametrize("quality", [96, 98, 100])
def test_a_fine_file_is_left_alone(treated, cat, quality):
    found = treated(Request("dejpeg"), cat, quality=quality)
    assert found.steps == ()
    assert found.found == f"JPEG quality {quality}: left alone, nothing to gain"


def test_an_earlier_compression_is_found_under_a_fine_one(treated, cat, tmp_path):
    cat.save(tmp_path / "first.jpg", quality=30)
    first = Image.open(tmp_path / "first.jpg").crop((3, 5, *cat.size))
    found = treated(Request("dejpeg"), first, quality=96)
    assert found.steps[0].request.quality == 30
    assert found.found == "blocks of an earlier JPEG quality 30"
    assert (found.steps[0].cells.top, found.steps[0].cells.left) == (3, 5)


def test_blocks_in_a_png(treated, cat, tmp_path):
    cat.save(tmp_path / "first.jpg", quality=50)
    cut = Image.open(tmp_path / "first.jpg").crop((0, 2, *cat.size))
    found = treated(Request("dejpeg"), cut, "png")
    assert abs(found.steps[0].request.quality - 50) <= 2
    assert (found.steps[0].cells.top, found.steps[0].cells.left) == (6, 0)
    named = treated(Request("dejpeg", quality=20), cut, "png")
    assert (named.steps[0].request.quality, named.steps[0].cells.top, named.found) == (20, 6, "")


def test_no_blocks_and_no_quality(treated, cat):
    with pytest.raises(ImageError, match="no blocks of one are found in it"):
        treated(Request("dejpeg"), cat, "png")
    assert treated(Request("dejpeg", quality=20), cat, "png").steps[0].cells is not None
    assert treated(Request("dejpeg", weights="mine.pth"), cat, "png").steps[0].cells is None


def test_colour_files_get_weights_for_colour_where_there_are_some(treated, cat, monkeypatch):
    gray = treated(Request("dejpeg"), cat.convert("L"), quality=40).steps[0].request
    assert gray.choose("cpu").entry.channels == 1
    rows = list(catalogue.entries())
    tiny = next(entry for entry in rows if entry.id == "mambair-tiny-dejpeg-q10")
    rows.append(replace(tiny, id="mambair-tiny-dejpeg-color", channels=3, quality=None))
    monkeypatch.setattr(catalogue, "entries", lambda: tuple(rows))
    assert Request("dejpeg", quality=40).by_file
    colour = treated(Request("dejpeg"), cat, quality=60).steps[0].request
    assert colour.choose("cpu").entry.id == "mambair-tiny-dejpeg-color"
    assert colour.choose("cpu").notices == ()
    assert not colour.by_file
    gray = treated(Request("dejpeg"), cat.convert("L"), quality=40).steps[0].request
    assert gray.choose("cpu").entry.channels == 1
    assert "mambair-tiny-dejpeg-color" in {
        case.choose("cpu").entry.id for case in Request("dejpeg").every_case()
    }


def test_what_follows_the_removal_of_blocks(cat, tmp_path):
    request, before = Request("realsr", 4), Request("dejpeg", variant="tiny")

    def treated(name, **options):
        cat.save(tmp_path / name, **options)
        sample = Sample.of_image(read_image(tmp_path / name))
        return treatment_of(request, sample, before=before)

    found = treated("bad.jpg", quality=40)
    assert [step.request.task for step in found.steps] == ["dejpeg", "realsr"]
    assert found.found == "JPEG quality 40: dejpeg, realsr x4"
    for name, options in (("fine.jpg", {"quality": 98}), ("clean.png", {})):
        alone = treated(name, **options)
        assert ([step.request for step in alone.steps], alone.found) == ([request], "")
