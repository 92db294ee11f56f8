"""The restoring commands from a command line to files: results, streams, options."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.batches import stages
from mambair_cli.imaging import formats


def size_and_mode(path: Path):
    with Image.open(path) as image:
        return image.size, image.mode


def test_sr_writes_beside_the_source_and_prints_only_the_path(mambair, weights, photo):
    outcome = mambair("sr", "--scale", 4, photo, "--weights", weights / "sr-x4.safetensors")
    target = photo.with_name("photo_x4.png")
    assert (outcome.status, outcome.lines) == (0, [str(target)])
    assert size_and_mode(target) == ((88, 52), "RGB")
    first, second, third = outcome.err.splitlines()
    assert first.startswith("device: cpu (")
    assert "scan: " in first
    assert first.endswith("precision: fp32")
    assert second == "model: test-sr-x4"
    assert third.startswith(f"{photo}: 88x52 in ")
    assert sorted(file.name for file in photo.parent.iterdir()) == ["photo.png", "photo_x4.png"]


def test_heic_is_read_by_the_plain_installation_and_becomes_png(
    mambair, weights, make_image, tmp_path, monkeypatch
):
    pillow_heif = pytest.importorskip("pillow_heif")
    photo = make_image(tmp_path / "photo.png")
    heic = tmp_path / "IMG_0001.HEIC"
    with Image.open(photo) as image:
        pillow_heif.from_pillow(image).save(heic)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._are_registered.cache_clear()
    try:
        outcome = mambair("sr", heic, "--weights", weights / "sr-x2.safetensors")
    finally:
        formats._are_registered.cache_clear()
    target = tmp_path / "IMG_0001_x2.png"
    assert (outcome.status, outcome.lines) == (0, [str(target)]), outcome.err
    assert size_and_mode(target) == ((44, 26), "RGB")
    told = (
        "changed: HEIC written as PNG (pip install 'mambair[heic]' writes HEIC), in IMG_0001.HEIC"
    )
    assert told in outcome.err.splitlines()


def test_a_damaged_file_is_restored_where_that_is_asked_for_and_it_is_told(
    mambair, weights, make_image, tmp_path
):
    whole, half = make_image(tmp_path / "whole.jpg", 90, 67), tmp_path / "half.jpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    options = ("--weights", weights / "sr-x2.safetensors", "-o", tmp_path / "out")
    refused = mambair("sr", whole, half, *options)
    assert refused.status == 1
    assert "--accept-damaged" in refused.err
    again = mambair("sr", whole, half, *options, "--retry-failed", "--accept-damaged")
    assert (again.status, again.lines) == (0, [str(tmp_path / "out" / "half_x2.jpg")]), again.err
    assert size_and_mode(tmp_path / "out" / "half_x2.jpg") == ((180, 134), "RGB")
    (told,) = (line for line in again.err.splitlines() if line.startswith("warning: "))
    assert told.startswith("warning: changed: damaged from about row ")
    assert told.endswith(" of 67 on, restored as far as it is there, in half.jpg")


def test_sr_takes_the_scale_of_the_weights(mambair, weights, photo):
    outcome = mambair("sr", photo, "--weights", weights / "sr-x2.safetensors")
    assert outcome.lines == [str(photo.with_name("photo_x2.png"))]


def test_denoise_and_dejpeg_name_their_results(mambair, weights, make_image, tmp_path):
    noisy = make_image(tmp_path / "noisy.png")
    outcome = mambair(
        "denoise", "--sigma", 25, noisy, "--weights", weights / "denoise-s25.safetensors"
    )
    assert outcome.lines == [str(tmp_path / "noisy_denoised.png")]
    scan = make_image(tmp_path / "scan.jpg")
    outcome = mambair("dejpeg", scan, "--weights", weights / "dejpeg-q30.safetensors")
    assert outcome.lines == [str(tmp_path / "scan_dejpeg.jpg")]
    assert size_and_mode(tmp_path / "scan_dejpeg.jpg") == ((22, 13), "RGB")


def test_gray_stays_gray_and_transparency_is_kept(mambair, weights, make_image, tmp_path):
    gray = make_image(tmp_path / "gray.png", mode="L")
    cutout = make_image(tmp_path / "cutout.png", mode="RGBA")
    outcome = mambair("sr", gray, cutout, "--weights", weights / "sr-x2.safetensors")
    assert outcome.status == 0
    assert size_and_mode(tmp_path / "gray_x2.png") == ((44, 26), "L")
    assert size_and_mode(tmp_path / "cutout_x2.png") == ((44, 26), "RGBA")


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (300, 1)])
def test_any_size_works(mambair, weights, make_image, tmp_path, size):
    image = make_image(tmp_path / "thin.png", *size)
    outcome = mambair("sr", image, "--weights", weights / "sr-x2.safetensors")
    assert outcome.status == 0, outcome.err
    assert size_and_mode(tmp_path / "thin_x2.png")[0] == (2 * size[0], 2 * size[1])


def test_a_tree_is_mirrored(mambair, weights, make_image, tmp_path):
    make_image(tmp_path / "in" / "a.png")
    make_image(tmp_path / "in" / "deep" / "er" / "b.jpg")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    out = tmp_path / "out"
    outcome = mambair("sr", tmp_path / "in", "-o", out, "--weights", weights / "sr-x2.safetensors")
    assert outcome.status == 0
    assert outcome.lines == [str(out / "a_x2.png"), str(out / "deep" / "er" / "b_x2.jpg")]
    assert outcome.err.splitlines()[-1].startswith("2 restored in ")


def test_no_recursive_stays_in_the_folder(mambair, weights, make_image, tmp_path):
    make_image(tmp_path / "in" / "a.png")
    make_image(tmp_path / "in" / "deep" / "b.png")
    common = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights / "sr-x2.safetensors")
    outcome = mambair("sr", *common, "--no-recursive")
    assert outcome.lines == [str(tmp_path / "out" / "a_x2.png")]
    assert mambair("sr", *common, "-r", "--overwrite").status == 0
    assert (tmp_path / "out" / "deep" / "b_x2.png").is_file()


def test_output_may_name_the_file(mambair, weights, photo, tmp_path):
    target = tmp_path / "big.webp"
    outcome = mambair("sr", photo, "-o", target, "--weights", weights / "sr-x2.safetensors")
    assert outcome.lines == [str(target)]
    with Image.open(target) as image:
        assert image.format == "WEBP"


def test_format_suffix_and_quality(mambair, weights, photo):
    def size_at(quality: int) -> int:
        arguments = ["--format", "jpg", "--suffix", f".q{quality}", "--quality-out", quality]
        outcome = mambair("sr", photo, *arguments, "--weights", weights / "sr-x2.safetensors")
        assert outcome.lines == [str(photo.with_name(f"photo.q{quality}.jpg"))]
        return photo.with_name(f"photo.q{quality}.jpg").stat().st_size

    assert size_at(20) < size_at(95)


def test_quiet_prints_paths_only(mambair, weights, photo):
    outcome = mambair("sr", photo, "-q", "--weights", weights / "sr-x2.safetensors")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.lines == [str(photo.with_name("photo_x2.png"))]


def test_verbose_tells_the_weights_file(mambair, weights, photo):
    file = weights / "sr-x2.safetensors"
    assert f"weights: {file}, sha256 " in mambair("sr", photo, "-v", "--weights", file).err


def test_json_tells_every_event(mambair, weights, photo, tmp_path):
    (photo.parent / "broken.png").write_text("no image")
    outcome = mambair(
        "sr", photo.parent, "-o", tmp_path / "out", "--json",
        "--weights", weights / "sr-x2.safetensors",
    )  # fmt: skip
    told = outcome.events
    assert outcome.status == 1
    names = [event["event"] for event in told]
    assert names == [
        "plan",
        *("file_started", "file_failed"),
        *("file_started", "tile", "file_noted", "tile", "file_done"),
        "summary",
    ]
    failed, done, summary = told[2], told[-2], told[-1]
    assert failed["source"] == str(photo.parent / "broken.png")
    assert "is not a" in failed["error"]
    assert done.pop("seconds") == pytest.approx(sum(done.pop("timings").values()), abs=0.002)
    assert done.pop("bytes") == (tmp_path / "out" / "photo_x2.png").stat().st_size
    assert done == {
        "event": "file_done",
        "source": str(photo),
        "target": str(tmp_path / "out" / "photo_x2.png"),
        "width": 44,
        "height": 26,
        "images": 1,
        "left_alone": False,
        "kept": [],
        "changed": [],
        "dropped": [],
    }
    assert (summary["restored"], summary["skipped"], summary["failed"]) == (1, 0, 1)


def test_dry_run_writes_nothing(mambair, weights, photo, tmp_path):
    out = tmp_path / "out"
    arguments = ("sr", photo, "-o", out, "--dry-run", "--weights", weights / "sr-x2.safetensors")
    outcome = mambair(*arguments)
    assert (outcome.status, outcome.out) == (0, "")
    written = f"would write {out / 'photo_x2.png'} from {photo}: 44x26 pixels, 1 tile\n"
    assert written in outcome.err
    assert not out.exists()
    file, plan = mambair(*arguments, "--json").events
    assert (file["event"], file["refusal"]) == ("file_planned", None)
    assert (plan["event"], plan["images"], plan["dry_run"]) == ("plan", 1, True)


def test_dry_run_tells_refusals(mambair, weights, photo, make_image):
    target = make_image(photo.with_name("photo_x2.png"))
    arguments = ("sr", photo, "--dry-run", "--weights", weights / "sr-x2.safetensors")
    assert f"would fail: {target} exists already" in mambair(*arguments).err
    assert "would fail" not in mambair(*arguments, "--overwrite").err


def test_resume_repeats_what_was_made_for_another_strength_of_noise(mambair, weights, photo):
    chosen = ("--weights", weights / "denoise-s25.safetensors", "--resume", "--json")

    def told(sigma):
        outcome = mambair("denoise", photo, "--sigma", sigma, *chosen)
        return [event["event"] for event in outcome.events if "file_" in event["event"]][-1]

    assert [told(sigma) for sigma in (20, 20, 30)] == ["file_done", "file_skipped", "file_done"]


def test_resume_skips_what_is_done_and_repeats_what_changed(mambair, weights, photo):
    arguments = ("sr", photo, "--resume", "--weights", weights / "sr-x2.safetensors")
    target = photo.with_name("photo_x2.png")
    assert mambair(*arguments).lines == [str(target)]
    again = mambair(*arguments)
    assert (again.status, again.lines) == (0, [])
    assert f"{photo}: skipped, done by an earlier run" in again.err
    assert mambair(*arguments, "--ensemble").lines == [str(target)]
    target.write_bytes(target.read_bytes()[:-40])
    assert mambair(*arguments, "--ensemble").lines == [str(target)]


def test_tiles_and_ensemble_are_used(mambair, weights, make_image, tmp_path):
    image = make_image(tmp_path / "wide.png", 70, 41)
    common = ("sr", image, "--overwrite", "--weights", weights / "sr-x2.safetensors")
    outcome = mambair(*common, "--tile", 32, "--overlap", 8, "--json")
    assert max(event.get("total", 0) for event in outcome.events) > 1
    mambair(*common, "--tile", 0)
    with Image.open(tmp_path / "wide_x2.png") as plain:
        whole = np.asarray(plain)
    mambair(*common, "--tile", 0, "--ensemble")
    with Image.open(tmp_path / "wide_x2.png") as averaged:
        assert (np.asarray(averaged) != whole).any()


def test_scan_backend_is_said_and_gives_the_same_image(mambair, weights, photo):
    common = ("sr", photo, "--overwrite", "--weights", weights / "sr-x2.safetensors")
    results = []
    for scan in ("auto", "reference"):
        outcome = mambair(*common, "--scan", scan)
        assert outcome.status == 0
        with Image.open(photo.with_name("photo_x2.png")) as image:
            results.append(np.asarray(image).astype(int))
    assert "scan: reference" in outcome.err.splitlines()[0]
    assert abs(results[0] - results[1]).max() <= 1


def test_denoise_warns_of_another_level(mambair, weights, photo):
    outcome = mambair(
        "denoise", "--sigma", 50, photo, "--weights", weights / "denoise-s25.safetensors"
    )
    assert outcome.status == 0
    assert "warning: test-denoise-s25 was trained for sigma 25, not 50" in outcome.err


def test_weights_for_another_task_are_doubted(mambair, weights, photo):
    outcome = mambair("dejpeg", photo, "--weights", weights / "denoise-s25.safetensors")
    assert outcome.status == 0
    assert "warning: test-denoise-s25 looks like weights for mambair denoise" in outcome.err


def test_file_names_are_not_read_as_markup(mambair, weights, make_image, tmp_path):
    image = make_image(tmp_path / "[red]a:smile:.png")
    outcome = mambair("sr", image, "--weights", weights / "sr-x2.safetensors")
    assert outcome.lines == [str(tmp_path / "[red]a:smile:_x2.png")]
    assert f"{image}: 44x26 in " in outcome.err


@pytest.mark.parametrize(("task", "option"), [("denoise", "--sigma"), ("dejpeg", "--quality")])
def test_no_strength_leaves_files_alone_byte_for_byte(
    mambair, weights, make_image, tmp_path, task, option
):
    photo, named = make_image(tmp_path / "in" / "photo.jpg"), weights / "denoise-s25.safetensors"
    command = (task, option, 30, photo.parent, "-o", tmp_path / "out", "--weights", named)
    outcome = mambair(*command, "--strength", 0)
    assert outcome.status == 0, outcome.err
    assert Path(outcome.lines[0]).read_bytes() == photo.read_bytes()
    changed = mambair(*command, "--strength", 0.5, "--overwrite")
    assert Path(changed.lines[0]).read_bytes() != photo.read_bytes()


def test_no_strength_is_the_image_itself_and_another_is_done_again(
    mambair, weights, make_image, tmp_path
):
    photo, out = make_image(tmp_path / "in" / "photo.png"), tmp_path / "out"
    command = ("denoise", "--sigma", 25, photo.parent, "-o", out, "--json", "--resume")
    command = (*command, "--weights", weights / "denoise-s25.safetensors")
    first = mambair(*command, "--strength", 0)
    assert [event["strength"] for event in first.events if event["event"] == "plan"] == [0]
    with Image.open(photo) as source, Image.open(out / "photo_denoised.png") as result:
        np.testing.assert_array_equal(np.asarray(result), np.asarray(source))
    assert mambair(*command, "--strength", 0).events[-1]["skipped"] == 1
    assert mambair(*command, "--strength", 0.5).events[-1]["restored"] == 1
    with Image.open(photo) as source, Image.open(out / "photo_denoised.png") as result:
        assert (np.asarray(result) != np.asarray(source)).any()


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        (("--scale", "1.5"), "photo_x1.5.png", (33, 20)),
        (("--scale", "2"), "photo_x2.png", (44, 26)),
        (("--long-side", "40"), "photo_40px.png", (40, 24)),
        (("--size", "40x20"), "photo_40x20.png", (34, 20)),
        (("--megapixels", "0.001"), "photo_0.001MP.png", (41, 24)),
        (("--only-below", "1MP"), "photo_x2.png", (44, 26)),
    ],
)
@pytest.mark.parametrize("in_bands", [False, True])
def test_results_of_any_size(mambair, weights, photo, options, name, size, in_bands, monkeypatch):
    if in_bands:
        monkeypatch.setattr(stages, "needs_bands", lambda *_: True)
    outcome = mambair("sr", photo, "--weights", weights / "sr-x2.safetensors", *options)
    assert (outcome.status, outcome.lines) == (0, [str(photo.with_name(name))]), outcome.err
    assert size_and_mode(photo.with_name(name))[0] == size


def test_sizes_that_cannot_be_are_failures_of_the_file(mambair, weights, photo):
    command = ("sr", photo, "--weights", weights / "sr-x2.safetensors")
    outcome = mambair(*command, "--long-side", 22)
    assert outcome.status == 1
    assert "22x13 pixels was to become 22x13: that is no enlargement" in outcome.err
    assert mambair(*command, "--scale", "2.5").status == 1


def test_sizes_exclude_each_other(mambair, photo):
    outcome = mambair("sr", photo, "--scale", "1.5", "--size", "40x20")
    assert outcome.status == 2
    assert outcome.err.startswith("error: --scale and --size exclude each other\n")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_large_images_are_left_alone_and_counted(mambair, weights, make_image, tmp_path, dry):
    make_image(tmp_path / "in" / "small.png", 10, 9)
    make_image(tmp_path / "in" / "large.png", 40, 30)
    command = ("sr", tmp_path / "in", "-o", tmp_path / "out", "--json", *dry)
    command = (*command, "--weights", weights / "sr-x2.safetensors")
    outcome = mambair(*command, "--only-below", "0.001")
    assert outcome.status == 0
    assert [e["skipped"] for e in outcome.events if e["event"] == "plan"] == [1]
    if not dry:
        assert [p.name for p in (tmp_path / "out").glob("*.png")] == ["small_x2.png"]
        assert outcome.events[-1]["skipped"] == 1
    assert "left alone: 40x30 pixels are not below 0.001 MP" in outcome.err


def test_another_size_is_done_again(mambair, weights, make_image, tmp_path):
    make_image(tmp_path / "in" / "a.png")
    command = ("sr", tmp_path / "in", "-o", tmp_path / "out", "--json", "--resume", "--suffix", "_")
    command = (*command, "--weights", weights / "sr-x2.safetensors")
    assert mambair(*command, "--scale", "1.5").events[-1]["restored"] == 1
    assert mambair(*command, "--scale", "1.5").events[-1]["skipped"] == 1
    assert mambair(*command, "--scale", "1.7").events[-1]["restored"] == 1
