from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mambair_cli.errors import RecipeError
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.training.config import DataTable
from mambair_cli.training.data import Sampler
from mambair_cli.training.images import list_images, read_pixels
from mambair_cli.training.kept_results import KeptResults

TABLE = DataTable(folders=("images",), patch=8, batch=4, candidates=2)


@pytest.fixture
def kept(data_root: Path) -> KeptResults:
    """Results that are the references inverted, for each image that is large enough."""
    results = KeptResults(data_root / "kept", 2)
    (data_root / "kept" / "images").mkdir(parents=True)
    for path in list_images(data_root / "images"):
        if path.stem != "narrow":
            pixels = 255 - crop_to_multiple(read_pixels(path, 3), 2)
            Image.fromarray(pixels).save(results.path(path))
    return results


def test_results_are_cut_and_turned_with_their_references(
    data_root: Path, kept: KeptResults
) -> None:
    sampler = Sampler(TABLE, data_root, 3, 2, seed=0, results=kept)
    without = Sampler(TABLE, data_root, 3, 2, seed=0)
    for iteration in range(5):
        batch, other = sampler.batch(iteration), without.batch(iteration)
        assert batch.taught is not None
        assert torch.equal(batch.high, other.high)
        assert torch.equal(batch.low, other.low)
        assert other.taught is None
        torch.testing.assert_close(batch.taught, 1 - batch.high)


def test_a_network_of_one_channel_is_taught_luma(data_root: Path, kept: KeptResults) -> None:
    taught = Sampler(TABLE, data_root, 1, 2, seed=0, results=kept).batch(0).taught
    assert taught is not None
    assert taught.shape == (4, 1, 16, 16)


def test_a_missing_result_is_named(data_root: Path, kept: KeptResults) -> None:
    image = data_root / "images" / "b.png"
    kept.path(image).unlink()
    with pytest.raises(RecipeError) as caught:
        Sampler(TABLE, data_root, 3, 2, seed=0, results=kept)
    assert caught.value.message == (
        f"distillation.folder lacks the result for {image}: there is no {kept.path(image)}"
    )
    assert caught.value.hint is not None


def test_results_for_another_scale_are_refused(data_root: Path, kept: KeptResults) -> None:
    image = data_root / "images" / "a.png"
    with pytest.raises(RecipeError) as caught:
        Sampler(TABLE, data_root, 3, 3, seed=0, results=KeptResults(data_root / "kept", 3))
    assert caught.value.message == (
        f"{kept.path(image)} has 70x44 pixels, the result for {image} at scale 3 has 69x45"
    )
    assert caught.value.hint is not None


def test_a_result_that_is_no_image_is_refused(data_root: Path, kept: KeptResults) -> None:
    path = kept.path(data_root / "images" / "a.png")
    path.write_text("not an image")
    with pytest.raises(RecipeError, match="is not a PNG") as caught:
        Sampler(TABLE, data_root, 3, 2, seed=0, results=kept)
    assert caught.value.hint == "have the teacher make it again"


def test_a_result_cut_off_costs_its_image_alone(data_root: Path, kept: KeptResults) -> None:
    path = kept.path(data_root / "images" / "a.png")
    path.write_bytes(path.read_bytes()[:900])
    sampler = Sampler(TABLE, data_root, 3, 2, seed=0, results=kept)
    batch = sampler.batch(0)
    assert list(sampler.unreadable) == [data_root / "images" / "a.png"]
    assert batch.taught is not None
    assert np.isfinite(batch.taught.numpy()).all()


@pytest.mark.parametrize("second", ["images/a.bmp", "other/images/a.png"])
def test_images_that_share_a_result_are_refused(
    data_root: Path, kept: KeptResults, second: str
) -> None:
    first, second_path = data_root / "images" / "a.png", data_root / second
    second_path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(first).rotate(180).save(second_path)
    folders = tuple(dict.fromkeys(("images", second.rpartition("/")[0])))
    table = DataTable(folders=folders, patch=8, batch=4)
    with pytest.raises(RecipeError, match=r"the results for .* are both .*a\.png") as caught:
        Sampler(table, data_root, 3, 2, seed=0, results=kept)
    assert caught.value.hint == "give the images' folders, or the images, names of their own"
