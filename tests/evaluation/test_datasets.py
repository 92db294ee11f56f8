"""Benchmark sets in a folder: the layouts, and what is refused with names."""

import numpy as np
import pytest
from PIL import Image

from mambair_cli.errors import ImageError, UsageError
from mambair_cli.evaluation.datasets import (
    DATASETS,
    digest_of,
    examples_in,
    find_dataset,
    read_pixels,
)


def save(path, width=20, height=12, mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(values, "RGBA").convert(mode).save(path)
    return path


def test_sets_are_found_by_any_of_their_names():
    assert find_dataset("set5").name == "Set5"
    assert find_dataset("BSD100") is find_dataset("b100")
    assert find_dataset("McM").images == 18


def test_an_unknown_set_is_refused_with_the_closest_names():
    with pytest.raises(UsageError, match=r"unknown data set 'Set6'") as caught:
        find_dataset("Set6")
    assert "Set5" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        find_dataset("imagenet-22k")
    assert all(dataset.name in caught.value.hint for dataset in DATASETS)


@pytest.mark.parametrize("folder", [".", "HR", "GTmod12", "original", "Set5_HR"])
def test_references_alone_are_taken_in_order_of_their_names(tmp_path, folder):
    for name in ("b", "a"):
        save(tmp_path / "Set5" / folder / f"{name}.png")
    (tmp_path / "Set5" / folder / "notes.txt").write_text("no image")
    examples = examples_in(tmp_path / "Set5", "sr", 4)
    assert [example.name for example in examples] == ["a", "b"]
    assert all(example.given is None for example in examples)


@pytest.mark.parametrize("folder", ["LR_bicubic/X4", "LR_bicubic/x4", "LR/X4", "X4", "LRbicx4"])
@pytest.mark.parametrize("suffix", ["x4", "_x4", "X4", ""])
def test_partners_are_paired_by_name(tmp_path, folder, suffix):
    for seed, name in enumerate(("a", "b", "c")):
        save(tmp_path / "HR" / f"{name}.png")
        save(tmp_path / folder / f"{name}{suffix}.png", 5, 3, seed=seed)
    save(tmp_path / "HR" / "aa.png")
    save(tmp_path / folder / f"aa{suffix}.png", 5, 3, seed=9)
    examples = examples_in(tmp_path, "sr", 4)
    assert [example.name for example in examples] == ["a", "aa", "b", "c"]
    for example in examples:
        partner = read_pixels(tmp_path / folder / f"{example.name}{suffix}.png")
        np.testing.assert_array_equal(example.given(), partner)


def test_partners_of_another_scale_are_left_alone(tmp_path):
    save(tmp_path / "HR" / "a.png")
    save(tmp_path / "LR_bicubic" / "X2" / "ax2.png")
    assert examples_in(tmp_path, "sr", 4)[0].given is None
    assert examples_in(tmp_path, "denoise", 1)[0].given is None


def test_selfexsr_pairs(tmp_path):
    for name in ("img_002", "img_001"):
        for kind, size in (("HR", (20, 12)), ("LR", (5, 3)), ("bicubic", (20, 12))):
            save(tmp_path / "image_SRF_4" / f"{name}_SRF_4_{kind}.png", *size)
    examples = examples_in(tmp_path, "sr", 4)
    assert [example.name for example in examples] == ["img_001", "img_002"]
    assert examples[0].given().shape == (3, 5, 3)
    (tmp_path / "image_SRF_4" / "img_001_SRF_4_LR.png").unlink()
    with pytest.raises(UsageError, match=r"no low-resolution partner: img_001_SRF_4_HR\.png"):
        examples_in(tmp_path, "sr", 4)


def test_missing_and_surplus_partners_are_named(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / "HR" / f"{name}.png")
    save(tmp_path / "LR_bicubic" / "X4" / "bx4.png")
    with pytest.raises(
        UsageError, match=r"^2 images have no low-resolution partner: a.png, c.png$"
    ):
        examples_in(tmp_path, "sr", 4)
    for name in ("a", "c", "zebra"):
        save(tmp_path / "LR_bicubic" / "X4" / f"{name}x4.png")
    with pytest.raises(UsageError, match=r"no reference: zebrax4.png"):
        examples_in(tmp_path, "sr", 4)
    (tmp_path / "LR_bicubic" / "X4" / "zebrax4.png").unlink()
    save(tmp_path / "LR_bicubic" / "X4" / "b.png")
    with pytest.raises(UsageError, match=r"more than one partner: b \(b.png, bx4.png\)"):
        examples_in(tmp_path, "sr", 4)


def test_two_layouts_at_once_are_refused(tmp_path):
    save(tmp_path / "HR" / "a.png")
    save(tmp_path / "GT" / "a.png")
    with pytest.raises(UsageError, match=r"images could be taken from .*HR or .*GT$"):
        examples_in(tmp_path, "sr", 4)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has no images of a benchmark set"):
        examples_in(tmp_path, "sr", 4)
    with pytest.raises(UsageError, match="is no folder"):
        examples_in(tmp_path / "missing", "sr", 4)


def test_the_digest_depends_on_names_and_contents_and_not_on_the_place(tmp_path):
    for place in ("here", "there"):
        save(tmp_path / place / "a.png", seed=1)
        save(tmp_path / place / "b.png", seed=2)
    here, there = (digest_of(examples_in(tmp_path / p, "sr", 4)) for p in ("here", "there"))
    assert here == there
    save(tmp_path / "there" / "b.png", seed=3)
    assert digest_of(examples_in(tmp_path / "there", "sr", 4)) != here


def test_transparent_and_deep_references_are_refused(tmp_path):
    with pytest.raises(ImageError, match="has transparent pixels"):
        read_pixels(save(tmp_path / "a.png", mode="RGBA"))
    gray = read_pixels(save(tmp_path / "gray.png", mode="L"))
    assert gray.shape == (12, 20, 1)


def test_blocks_of_sidd(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    blocks = {kind: rng.integers(0, 256, (2, 3, 16, 16, 3), np.uint8) for kind in ("Gt", "Noisy")}
    for kind, values in blocks.items():
        name = f"Validation{kind}BlocksSrgb"
        scipy_io.savemat(tmp_path / f"{name}.mat", {name: values})
    examples = examples_in(tmp_path, "denoise-real", 1)
    assert [example.name for example in examples][:4] == ["01-01", "01-02", "01-03", "02-01"]
    np.testing.assert_array_equal(examples[4].truth(), blocks["Gt"][1, 1])
    np.testing.assert_array_equal(examples[4].given(), blocks["Noisy"][1, 1])
    (tmp_path / "ValidationGtBlocksSrgb.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ImageError):
        examples_in(tmp_path, "denoise-real", 1)
    (tmp_path / "ValidationGtBlocksSrgb.mat").unlink()
    with pytest.raises(UsageError, match=r"has no ValidationGtBlocksSrgb\.mat"):
        examples_in(tmp_path, "denoise-real", 1)
