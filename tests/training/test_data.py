from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mambair_cli.errors import ImageError, RecipeError
from mambair_cli.evaluation.degrade import downscale
from mambair_cli.imaging import formats
from mambair_cli.imaging.orientation import turn
from mambair_cli.training import data
from mambair_cli.training.config import DataTable
from mambair_cli.training.data import (
    ORIENTATIONS,
    PairCache,
    Sampler,
    degrade,
    detail,
)
from mambair_cli.training.degradations.blur import Blur
from mambair_cli.training.degradations.chain import Degradation
from mambair_cli.training.degradations.resizing import Fit
from mambair_cli.training.images import list_images, read_pixels, read_size
from mambair_cli.training.parsing import Span

TABLE = DataTable(folders=("images",), patch=8, batch=3)


def test_batches_depend_on_seed_and_iteration_alone(data_root: Path) -> None:
    first, second = (Sampler(TABLE, data_root, 3, 2, seed=5) for _ in range(2))
    for iteration in (9, 2):
        assert torch.equal(first.batch(iteration).high, second.batch(iteration).high)
    other = Sampler(TABLE, data_root, 3, 2, seed=6)
    assert not torch.equal(first.batch(2).high, other.batch(2).high)
    ahead = list(first.batches(1, 4))
    assert len(ahead) == 3
    for iteration, batch in enumerate(ahead, start=1):
        assert torch.equal(batch.low, second.batch(iteration).low)


def test_of_several_candidates_the_one_with_most_detail_is_used(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = DataTable(folders=("images",), patch=8, batch=1, augment=False)
    four = replace(one, candidates=4)
    seen: list[float] = []

    def record(pixels: np.ndarray) -> float:
        seen.append(detail(pixels))
        return seen[-1]

    monkeypatch.setattr(data, "detail", record)
    for iteration in range(5):
        seen.clear()
        high = Sampler(four, data_root, 3, 2, seed=5).batch(iteration).high
        assert len(set(seen)) > 1
        assert detail(_pixels(high)) == max(seen)
        first = Sampler(one, data_root, 3, 2, seed=5).batch(iteration).high
        assert detail(_pixels(first)) == seen[0]


def test_detail_is_the_mean_difference_of_neighbours() -> None:
    flat = np.full((4, 4, 1), 200, np.uint8)
    stripes = flat.copy()
    stripes[:, ::2] = 100
    assert detail(flat) == 0
    assert detail(stripes) == detail(stripes.transpose(1, 0, 2)) == 50


def test_no_iterations_give_no_batches(data_root: Path) -> None:
    assert list(Sampler(TABLE, data_root, 3, 2, seed=5).batches(4, 4)) == []


def test_patches_are_aligned_and_cut_from_the_downscaled_whole_image(data_root: Path) -> None:
    table = DataTable(folders=("images",), patch=8, batch=1, augment=False)
    sampler = Sampler(table, data_root, 3, 2, seed=1)
    wholes = [read_pixels(path, 3) for path in sampler.files]
    for iteration in range(4):
        batch = sampler.batch(iteration)
        assert batch.low.shape == (1, 3, 8, 8)
        assert batch.high.shape == (1, 3, 16, 16)
        assert batch.low.dtype == torch.float32
        assert any(_contains(whole, batch.low, batch.high) for whole in wholes)


def test_the_blocks_of_a_coded_patch_begin_anywhere(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded: list[tuple[int, ...]] = []

    def record(pixels: np.ndarray, _: int) -> np.ndarray:
        coded.append(pixels.shape)
        return pixels

    monkeypatch.setattr(data, "jpeg_compress", record)
    table = DataTable(folders=("images",), patch=14, batch=40, jpeg_quality=Span(10, 10))
    batch = Sampler(table, data_root, 3, 1, seed=1).batch(0)
    assert torch.equal(batch.low, batch.high)
    assert batch.low.shape == (40, 3, 14, 14)
    assert {height - 14 for height, _, _ in coded} == set(range(8))
    assert {width - 14 for _, width, _ in coded} == set(range(8))


def _contains(whole: np.ndarray, low: torch.Tensor, high: torch.Tensor) -> bool:
    small = downscale(whole, 2)
    for y in range(small.shape[0] - 7):
        for x in range(small.shape[1] - 7):
            if np.array_equal(small[y : y + 8, x : x + 8], _pixels(low)):
                there = whole[2 * y : 2 * y + 16, 2 * x : 2 * x + 16]
                return np.array_equal(there, _pixels(high))
    return False


def _pixels(tensor: torch.Tensor) -> np.ndarray:
    return (tensor[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_samples_for_a_gpu_are_pinned(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    batch = Sampler(TABLE, data_root, 3, 2, seed=0, pinned=True).batch(0)
    assert pinned[0] is batch.low
    assert pinned[1] is batch.high
    Sampler(TABLE, data_root, 3, 2, seed=0).batch(0)
    assert len(pinned) == 2


def test_images_smaller_than_a_patch_are_left_out(data_root: Path) -> None:
    sampler = Sampler(TABLE, data_root, 3, 2, seed=0)
    assert [path.name for path in sampler.files] == ["a.png", "b.png"]
    assert sampler.skipped == 1
    with pytest.raises(RecipeError) as caught:
        Sampler(DataTable(folders=("images",), patch=40), data_root, 3, 2, seed=0)
    assert caught.value.message == "none of the 3 training images is 80x80 pixels or larger"


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"does not exist$"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"holds no images$") as caught:
        list_images(tmp_path)
    assert caught.value.hint


def test_gray_and_colour_files_fit_either_network(data_root: Path) -> None:
    gray, colour = data_root / "images" / "b.png", data_root / "images" / "a.png"
    assert read_pixels(gray, 3).shape == (33, 26, 3)
    assert read_pixels(gray, 1).shape == (33, 26, 1)
    luma = read_pixels(colour, 1)
    assert luma.shape == (45, 70, 1)
    with Image.open(colour) as image:
        assert np.abs(luma[..., 0].astype(int) - np.asarray(image.convert("L"), int)).max() <= 1


def test_orientation_is_obeyed_by_size_and_pixels(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (30, 20)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_size(tmp_path / "turned.jpg") == (30, 20)
    assert read_pixels(tmp_path / "turned.jpg", 3).shape == (30, 20, 3)


def test_files_that_cannot_be_read_are_left_out_with_the_reason(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Sampler(TABLE, data_root, 3, 2, seed=0).batch(3)
    jxl, text, several = (data_root / "images" / name for name in ("c.jxl", "d.png", "e.gif"))
    jxl.write_bytes(b"\xff\x0a" + bytes(99))
    text.write_text("not an image")
    frames = [Image.new("L", (40, 30), level) for level in (0, 255)]
    frames[0].save(several, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(formats, "is_readable", lambda entry: entry.reader is None)
    sampler = Sampler(TABLE, data_root, 3, 2, seed=0)
    assert {path: error.message for path, error in sampler.unreadable.items()} == {
        jxl: f"{jxl} is a JPEG XL image, which needs a package that is not installed",
        text: f"{text} is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image",
        several: f"{several} has 2 frames or pages",
    }
    assert sampler.unreadable[jxl].hint == "pip install 'mambair[jxl]'"
    assert torch.equal(sampler.batch(3).high, expected.high)


def test_an_image_that_turns_out_to_be_damaged_is_left_out_of_every_batch(data_root: Path) -> None:
    path = data_root / "images" / "a.png"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    first, second = (Sampler(TABLE, data_root, 3, 2, seed=5) for _ in range(2))
    whole = read_pixels(data_root / "images" / "b.png", 3)
    batches = [first.batch(iteration) for iteration in range(4)]
    assert list(first.unreadable) == [path]
    # Whether the damage was met before makes no difference.
    assert torch.equal(second.batch(3).high, batches[3].high)
    table = replace(TABLE, batch=1, augment=False)
    for iteration in range(4):
        batch = Sampler(table, data_root, 3, 2, seed=1).batch(iteration)
        assert _contains(whole, batch.low, batch.high)


def test_images_of_which_none_can_be_read(data_root: Path) -> None:
    for name in ("a.png", "b.png", "narrow.png"):
        path = data_root / "images" / name
        path.write_bytes(path.read_bytes()[:200])
    sampler = Sampler(TABLE, data_root, 3, 2, seed=0)
    with pytest.raises(RecipeError, match=r"^none of the 2 images can be read; the first: "):
        sampler.batch(0)
    for name in ("a.png", "b.png", "narrow.png"):
        (data_root / "images" / name).write_text("not an image")
    with pytest.raises(RecipeError) as caught:
        Sampler(TABLE, data_root, 3, 2, seed=0)
    assert caught.value.message == (
        f"none of the 3 images can be read; the first: {data_root / 'images' / 'a.png'} "
        "is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image"
    )
    assert caught.value.hint is not None


def test_a_truncated_image_is_an_error_and_not_a_gray_patch(data_root: Path) -> None:
    path = data_root / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ImageError, match=r"a\.png"):
        read_pixels(path, 3)


def test_the_cache_stays_within_its_limit_and_gives_the_same_pixels(data_root: Path) -> None:
    files = [data_root / "images" / name for name in ("a.png", "b.png")]
    roomy, tight = (PairCache(3, 2, limit) for limit in (10**6, 0))
    for index in (0, 1, 0):
        assert np.array_equal(roomy[files[index]].low, tight[files[index]].low)
    assert roomy[files[0]] is roomy[files[0]]
    assert len(tight._kept) == 1


def test_all_eight_symmetries_occur() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    turned = {turn(pixels, n).tobytes() for row in ORIENTATIONS for n in row}
    assert len(turned) == 8


def test_patches_are_turned_by_quarters_and_then_mirrored() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    for quarters in range(4):
        turned = np.rot90(pixels, quarters)
        for mirrored, expected in enumerate((turned, turned[:, ::-1])):
            ours = turn(pixels, ORIENTATIONS[mirrored][quarters])
            assert np.array_equal(ours, expected)
            assert ours.strides == expected.strides


def test_degradations() -> None:
    pixels = np.full((16, 24, 3), 120, np.uint8)
    generator = np.random.default_rng(0)
    assert degrade(pixels, None, None, generator) is pixels
    noisy = degrade(pixels, Span(25, 25), None, generator)
    assert noisy.dtype == np.float32
    assert 22 < noisy.std() * 255 < 28
    both = degrade(pixels, Span(25, 25), Span(10, 20), generator)
    assert both.dtype == np.uint8
    assert both.std() < 25


def test_noise_is_clipped_where_asked_for() -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    generator = np.random.default_rng(0)
    noisy = degrade(pixels, Span(25, 25), None, generator, clipped=1)
    assert noisy.dtype == np.float32
    assert noisy.min() == 0
    assert np.allclose(noisy * 255, np.rint(noisy * 255), atol=1e-4)


def test_steps_make_the_input_of_the_reference_where_it_is(data_root: Path) -> None:
    steps: tuple[Degradation, ...] = (Blur("blur", Span(0.3, 0.6)), Fit("fit"))
    table = replace(TABLE, patch=4, steps=steps)
    sampler = Sampler(table, data_root, 3, 2, seed=5)
    batch = sampler.batch(3)
    assert torch.equal(batch.low, sampler.batch(3).low)
    assert batch.low.shape == (3, 3, 4, 4)
    assert batch.high.shape == (3, 3, 8, 8)
    means = torch.nn.functional.avg_pool2d(batch.high, 2)
    assert (batch.low - means).abs().mean() < 0.5 * (batch.low - means.flip(-1)).abs().mean()
