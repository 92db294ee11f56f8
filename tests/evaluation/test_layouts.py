"""Benchmark sets in a folder: the layouts, and what is refused with names."""

import numpy as np
import pytest
from PIL import Image

from mambair_cli.errors import ImageError, UsageError
from mambair_cli.evaluation.datasets import Dataset, find_dataset
from mambair_cli.evaluation.examples import (
    digest_of,
    is_published,
    read_pixels,
    require_scorable,
)
from mambair_cli.evaluation.layouts import examples_in, has_partners


def save(path, width=20, height=12, mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(values, "RGBA").convert(mode).save(path)
    return path


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


def names(examples):
    return [(example.name, [path.name for path in example.files]) for example in examples]


NAMES = [
    ("{}_HR", "HR", "{}_LR", "LR/X2"),
    ("{}", "HR", "{}_bicLRx2", "LR_bicubic/X2"),
    ("{}", "original", "{}", "LRbicx2"),
    ("{}", "DIV2K_valid_HR", "{}x2", "DIV2K_valid_LR_bicubic/X2"),
    ("{}-gt", "gt", "{}-lq", "lq"),
    ("{}", "HR", "{}_2x2", "2x"),
    ("{}", ".", "{}_x2", "x2"),
    ("{}", ".", "{}x2", "."),
    ("{}_HR", ".", "{}_LR", "."),
    ("img_00{}x2", "HR", "img_00{}x2", "LR/x2"),
]


@pytest.mark.parametrize(("high", "references", "low", "partners"), NAMES)
def test_partners_are_found_however_people_name_them(tmp_path, high, references, low, partners):
    stems = ["1", "2", "11"] if "2x2" not in low else ["1_2", "11_2"]
    for stem in stems:
        save(tmp_path / references / f"{high.format(stem)}.png", 20, 12)
        given = low.format(stem) if "2x2" not in low else f"{stem}x2"
        save(tmp_path / partners / f"{given}.png", 10, 6)
    examples = examples_in(tmp_path, "sr", 2)
    assert len(examples) == len(stems)
    assert all(example.given().shape == (6, 10, 3) for example in examples)
    assert all(example.truth().shape == (12, 20, 3) for example in examples)
    found = [[path.stem for path in example.files] for example in examples]
    if "2x2" not in low:
        assert sorted(found) == sorted([high.format(s), low.format(s)] for s in stems)


def test_a_reference_is_cropped_as_its_partner_was(tmp_path):
    save(tmp_path / "original" / "a.png", 62, 50)
    save(tmp_path / "LRbicx2" / "a.png", 30, 24)
    (example,) = examples_in(tmp_path, "sr", 2)
    whole = read_pixels(tmp_path / "original" / "a.png")
    np.testing.assert_array_equal(example.truth(), whole[:48, :60])
    assert (example.height, example.width) == (48, 60)


def test_of_two_reference_folders_the_partners_choose(tmp_path):
    for folder, size in (("original", (62, 50)), ("GTmod12", (60, 48))):
        save(tmp_path / folder / "a.png", *size)
    assert examples_in(tmp_path, "sr", 2)[0].files == (tmp_path / "original" / "a.png",)
    save(tmp_path / "LRbicx2" / "a.png", 30, 24)
    (example,) = examples_in(tmp_path, "sr", 2)
    assert example.files[0].parent.name == "GTmod12"


@pytest.mark.parametrize(
    ("high", "low"), [((61, 49), (31, 25)), ((40, 40), (10, 10)), ((40, 20), (10, 20))]
)
def test_partners_of_another_size_are_named(tmp_path, high, low):
    save(tmp_path / "HR" / "a.png", *high)
    save(tmp_path / "LR_bicubic" / "X2" / "ax2.png", *low)
    with pytest.raises(UsageError, match=rf"ax2\.png has {low[0]}x{low[1]} pixels: .*a\.png"):
        examples_in(tmp_path, "sr", 2)


def test_low_resolution_images_of_another_scale_beside_their_references(tmp_path):
    for name, size in (("a", (40, 24)), ("ax2", (20, 12)), ("ax4", (10, 6))):
        save(tmp_path / f"{name}.png", *size)
    assert names(examples_in(tmp_path, "sr", 4)) == [("a", ["a.png", "ax4.png"])]
    assert names(examples_in(tmp_path, "sr", 3)) == [("a", ["a.png"])]


def test_a_folder_that_does_not_name_its_scale_is_taken_where_it_fits(tmp_path):
    save(tmp_path / "HR" / "a.png", 40, 24)
    save(tmp_path / "LR" / "a.png", 10, 6)
    assert examples_in(tmp_path, "sr", 4)[0].given is not None
    assert examples_in(tmp_path, "sr", 2)[0].given is None


@pytest.mark.parametrize(("clean", "noisy"), [("clean", "noisy"), ("target", "input")])
def test_pairs_of_ones_own_of_one_size(tmp_path, clean, noisy):
    save(tmp_path / clean / "a_clean.png", seed=1)
    save(tmp_path / noisy / "a_noisy.png", seed=2)
    assert has_partners(tmp_path)
    for task in ("denoise", "denoise-real"):
        (example,) = examples_in(tmp_path, task, 1, own=True)
        assert [path.parent.name for path in example.files] == [clean, noisy]
    assert examples_in(tmp_path, "denoise", 1)[0].given is None
    save(tmp_path / noisy / "a_noisy.png", 10, 6)
    with pytest.raises(UsageError, match="has 10x6 pixels"):
        examples_in(tmp_path, "denoise", 1, own=True)


def test_images_too_small_to_be_scored_are_named(tmp_path):
    save(tmp_path / "large.png", 20, 16)
    save(tmp_path / "small.png", 20, 15)
    examples = examples_in(tmp_path, "sr", 2)
    require_scorable(examples[:1], 2)
    with pytest.raises(ImageError, match=r"small\.png has 20x15 pixels: SSIM needs 16x16"):
        require_scorable(examples, 2)
    require_scorable(examples, 1)


def test_other_images_under_the_name_of_a_set(tmp_path):
    set5 = find_dataset("Set5")
    sides = [(512, 512), (288, 288), (256, 256), (280, 280), (228, 344)]
    for crop, published in ((1, True), (12, True), (90, False)):
        for name, size in zip("abcde", sides, strict=True):
            save(tmp_path / f"{name}.png", *(side - side % crop for side in size), mode="L")
        examples = examples_in(tmp_path, "sr", 2)
        assert is_published(set5, examples) is published
        assert not is_published(Dataset.of_user("Set5"), examples)
    assert is_published(set5, examples[:4])
    assert not is_published(set5, [*examples, *examples])


def test_hidden_files_and_folders_are_no_images(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"Mac OS X")
    (tmp_path / "b.png").mkdir()
    assert names(examples_in(tmp_path, "sr", 2)) == [("a", ["a.png"])]
