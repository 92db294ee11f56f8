"""How often a batch opens its inputs: what one step learned of a file is handed on to the next."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from restoring import one_by_one

from mambair_cli.batches.batch import foresee, run_batch
from mambair_cli.batches.jobs import plan_jobs
from mambair_cli.batches.stages import FileOptions
from mambair_cli.imaging import vips
from mambair_cli.imaging.files import read_image

FILES = FileOptions(max_memory=2**34)
SUFFIXES = ("png", "jpg", "tif", "webp", "gif", "bmp", "avif")
opened: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _watched():
    # An audit hook cannot be removed, and a second one would count everything twice.
    sys.addaudithook(lambda name, values: opened.append(str(values[0])) if name == "open" else None)


@pytest.fixture
def loaded(monkeypatch):
    """Files that libvips was asked to open."""
    paths = []
    load = vips.load

    def counted(loader, path, **options):
        paths.append(path)
        return load(loader, path, **options)

    monkeypatch.setattr(vips, "load", counted)
    return paths


def save(path, seed=0, **options):
    values = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(values).save(path, **options)
    return path


def plan(*paths):
    return plan_jobs(
        list(paths),
        output=paths[0].parent / "out",
        suffix="",
        format="png",
        recursive=False,
        overwrite=False,
    )


def in_bands(reader, *_):
    return reader.header, iter([reader.read(0, reader.header.height)])


def run(jobs, files=FILES, **options):
    restorers = {"cpu": one_by_one(lambda image, *_: image, in_bands)}
    return run_batch(jobs, restorers, lambda _: None, files=files, **options)


def opens_of(path):
    return sum(name == str(path) for name in opened)


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_is_opened_once_from_its_header_to_its_pixels(tmp_path, loaded, resume):
    for suffix in SUFFIXES:
        path = save(tmp_path / f"photo.{suffix}")
        recipe = (lambda file: {"quality": file.jpeg_quality}) if resume else None
        opened.clear()
        loaded.clear()
        assert run(plan(path), resume=resume, recipe=recipe).done
        assert opens_of(path) == 1, suffix
        assert len(loaded) <= 1, suffix
        for made in (tmp_path / "out").iterdir():
            made.unlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_foreseen_of_one_file_is_read_without_opening_it_again(tmp_path, loaded, suffix):
    path = save(tmp_path / f"photo.{suffix}")
    opened.clear()
    forecasts = foresee(plan(path), FILES, keep_open=True)
    assert run(plan(path), forecasts=forecasts).done
    assert opens_of(path) == 1
    assert len(loaded) <= 1
    pixels = read_image(tmp_path / "out" / "photo.png").pixels
    np.testing.assert_array_equal(pixels, read_image(path).pixels)


@pytest.mark.parametrize("io_threads", [0, 2])
def test_of_many_files_no_header_is_read_only_to_count_pixels(tmp_path, io_threads):
    paths = [save(tmp_path / f"{index}.png", index) for index in range(5)]
    jobs = plan(*paths)
    forecasts = foresee(jobs, FILES)
    opened.clear()
    assert len(run(jobs, forecasts=forecasts, io_threads=io_threads).done) == 5
    assert [opens_of(path) for path in paths] == [1] * 5


def test_an_image_in_bands_is_opened_for_its_header_and_for_its_rows(tmp_path):
    path = save(tmp_path / "photo.tif")
    opened.clear()
    assert run(plan(path), replace(FILES, max_memory=1)).done
    assert opens_of(path) == 2


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_changed_since_it_was_foreseen_is_read_as_it_is_now(tmp_path, in_place):
    path = save(tmp_path / "photo.png")
    forecasts = foresee(plan(path), FILES, keep_open=True)
    other = save(tmp_path / "other.png", seed=1, compress_level=1)
    if in_place:
        path.write_bytes(other.read_bytes())
    else:
        os.replace(other, path)  # noqa: PTH105 - on every system over an existing file
    summary = run(plan(path), forecasts=forecasts, resume=True, recipe=lambda _: {})
    (done,) = summary.done
    pixels = read_image(done.job.target).pixels
    np.testing.assert_array_equal(pixels, read_image(path).pixels)
    again = run(plan(path), resume=True, recipe=lambda _: {})
    assert len(again.skipped) == 1  # the record has the digest of what was read


def test_a_file_that_vanished_since_it_was_foreseen_fails_as_missing(tmp_path):
    path = save(tmp_path / "photo.png")
    forecasts = foresee(plan(path), FILES, keep_open=True)
    path.unlink()
    (failure,) = run([forecasts[0].job], forecasts=forecasts).failed
    assert failure.error.message == f"{path} does not exist"


def test_a_file_that_was_damaged_since_it_was_foreseen_fails_as_damaged(tmp_path):
    path = save(tmp_path / "photo.png")
    forecasts = foresee(plan(path), FILES, keep_open=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (failure,) = run(plan(path), forecasts=forecasts).failed
    assert failure.error.message.startswith(f"{path} is damaged or cut short")


def test_what_nobody_read_is_closed(tmp_path):
    path = save(tmp_path / "photo.png")
    jobs = plan(path)
    forecasts = foresee(jobs, FILES, keep_open=True)
    assert forecasts[0].file is not None
    jobs[0].target.parent.mkdir()
    jobs[0].target.write_bytes(b"")
    (failure,) = run(plan(path), forecasts=forecasts).failed  # its output exists
    assert "exists already" in failure.error.message
    assert not forecasts[0].file.is_open
