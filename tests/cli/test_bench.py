"""`mambair bench` and `mambair compare` as a user meets them."""

import csv
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image


@pytest.fixture
def sets(tmp_path):
    """Set5 with three of its images, CBSD68 and classic5 with one each."""
    for folder, names in (("Set5/HR", "abc"), ("CBSD68", "d"), ("classic5", "e")):
        for seed, name in enumerate(names):
            values = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
            smooth = Image.fromarray(values).resize((52, 44), Image.Resampling.BICUBIC)
            path = tmp_path / "sets" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            smooth.save(path)
    return tmp_path / "sets"


def test_scores_go_to_standard_output(mambair, sets, weights):
    done = mambair(
        *("bench", "--dataset", "Set5", "--data", sets),
        *("--weights", weights / "sr-x2.safetensors", "--scale", "2"),
    )
    assert done.status == 0, done.err
    assert done.lines[0].split() == [
        *("data", "set", "model", "PSNR", "SSIM", "reported", "difference", "input", "seconds"),
    ]
    assert done.lines[1].startswith("Set5 (3 images)  test-sr-x2")
    assert "warning" in done.err
    assert "3 of the 5 images of Set5" in done.err
    assert "protocol: the authors' partition" in done.err


@pytest.mark.parametrize(
    ("dataset", "file"), [("CBSD68", "denoise-s25"), ("classic5", "dejpeg-q30")]
)
def test_other_tasks_are_known_by_their_sets(mambair, sets, weights, dataset, file):
    done = mambair(
        *("bench", "--dataset", dataset, "--data", sets / dataset, "--json"),
        *("--weights", weights / f"{file}.safetensors"),
    )
    assert done.status == 0, done.err
    row = json.loads(done.lines[-1])
    assert row["event"] == "score"
    assert row["dataset"] == dataset
    assert row["inputs"] == "made"
    assert len(row["dataset_sha256"]) == 64


def test_reports_are_written_in_every_format(mambair, sets, weights, tmp_path):
    files = [tmp_path / f"report.{kind}" for kind in ("html", "md", "csv", "json")]
    done = mambair(
        *("bench", "--dataset", "Set5", "--data", sets, "--scale", "2", "-q"),
        *("--weights", weights / "sr-x2.safetensors"),
        *(word for file in files for word in ("--report", file)),
    )
    assert done.status == 0, done.err
    page, markdown, table, document = (file.read_text() for file in files)
    assert "data:image/webp" in page
    assert "| Set5 (3 images) | test-sr-x2 |" in markdown
    (row,) = csv.DictReader(table.splitlines())
    (run,) = json.loads(document)["runs"]
    assert float(row["psnr"]) == run["psnr"]
    assert len(run["scores"]) == 3


def test_a_report_may_be_named_in_capitals(mambair, sets, weights, tmp_path):
    done = mambair(
        *("bench", "--dataset", "Set5", "--data", sets, "--scale", "2", "-q"),
        *("--weights", weights / "sr-x2.safetensors", "--report", tmp_path / "REPORT.HTML"),
    )
    assert done.status == 0, done.err
    assert "data:image/webp" in (tmp_path / "REPORT.HTML").read_text()


def test_protocols_cut_images_in_different_ways(mambair, sets, weights):
    rows = {}
    for protocol, further in (("paper", ()), ("whole", ()), ("tiled", ("--tile", "16"))):
        done = mambair(
            *("bench", "--dataset", "Set5", "--data", sets, "--scale", "2", "--json"),
            *("--weights", weights / "sr-x2.safetensors", "--protocol", protocol, *further),
        )
        rows[protocol] = json.loads(done.lines[-1])["psnr"]
    # No side reaches 200 pixels, so nothing is cut.
    assert rows["paper"] == rows["whole"] != rows["tiled"]


def test_speed_needs_no_data(mambair, weights, monkeypatch):
    monkeypatch.setattr("mambair_cli.evaluation.speed.SIZES", [(24, 16)])
    done = mambair("bench", "--speed", "--weights", weights / "sr-x2.safetensors", "--json")
    assert done.status == 0, done.err
    row = json.loads(done.lines[-1])
    assert (row["event"], row["width"], row["height"]) == ("speed", 24, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no data set was named"),
        (("--dataset", "Set6"), "unknown data set 'Set6'"),
        (("--dataset", "Set5", "--speed"), "--speed and --dataset exclude each other"),
        (("--speed", "--report", "a.md"), "--speed and --report exclude each other"),
        (("--speed", "--check", "0"), "--speed and --check exclude each other"),
        (("--dataset", "Set5", "--sigma", "25"), "Set5 measures sr and realsr, not denoise"),
        (("--dataset", "Set5", "--report", "out.pdf"), "reports cannot be written as .pdf"),
        (("--dataset", "Set5", "--tile", "64"), "--tile 64 means nothing with --protocol paper"),
    ],
)
def test_wrong_requests(mambair, sets, arguments, message):
    done = mambair("bench", "--data", sets, *arguments)
    assert done.status == 2
    assert f"error: {message}" in done.err or message in done.err
    assert done.out == ""


def test_without_data_and_network_it_says_what_to_do(mambair):
    done = mambair("bench", "--dataset", "Set5", "--model", "tiny")
    assert done.status == 1
    assert "Set5 is not on this machine and cannot be fetched" in done.err
    assert "hint: connect this machine once, or put the images of" in done.err


def test_a_check_that_has_nothing_to_compare(mambair, sets, weights):
    done = mambair(
        *("bench", "--dataset", "CBSD68", "--data", sets, "--check", "0.01"),
        *("--weights", weights / "denoise-s25.safetensors"),
    )
    assert done.status == 2
    assert "not all images are there" in done.err


def test_a_check_is_refused_before_anything_is_measured(mambair, sets, weights):
    make_complete(sets / "CBSD68", 68)
    done = mambair(
        *("bench", "--dataset", "CBSD68", "--data", sets, "--check", "0.01", "-v"),
        *("--weights", weights / "denoise-s25.safetensors"),
    )
    assert done.status == 2
    assert done.out == ""
    assert "CBSD68/d: " not in done.err
    assert done.err.endswith(
        "error: nobody reports a score of test-denoise-s25 to check against\n\n"
        "hint: check published weights, such as --model light, or leave out --check\n"
    )


def make_complete(folder, count):
    for number in range(count - 1):
        shutil.copy(folder / "d.png", folder / f"{number}.png")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/report.md", "No such file or directory"),
        ("folder.md", "Is a directory"),
        ("file.txt/report.md", "Not a directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    mambair, sets, tmp_path, name, reason
):
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file.txt").touch()
    report = tmp_path / name
    done = mambair("bench", "--dataset", "Set5", "--data", sets, "--report", report)
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        f"error: {report} cannot be written: {reason}\n\nhint: choose another place with --report\n"
    )
    page = report.with_suffix(".html") if name != "folder.md" else report
    if page.suffix == ".html":
        done = mambair("compare", sets / "CBSD68" / "d.png", "--models", "tiny", "-o", page)
        assert (done.status, done.out) == (1, "")
        assert done.err == (
            f"error: {page} cannot be written: {reason}\n\nhint: choose another place with -o\n"
        )


def test_an_image_that_cannot_be_read_is_an_error_before_anything_is_measured(
    mambair, sets, weights
):
    damaged = sets / "Set5" / "HR" / "z.png"
    damaged.write_text("not an image")
    done = mambair(
        *("bench", "--dataset", "Set5", "--data", sets, "--scale", "2", "-v"),
        *("--weights", weights / "sr-x2.safetensors"),
    )
    assert (done.status, done.out) == (1, "")
    assert "Set5/a: " not in done.err
    assert f"error: {damaged} is not a PNG, " in done.err


def test_compare_writes_a_page_beside_the_image(mambair, photo):
    done = mambair("compare", photo, "--models", "tiny")
    assert done.status == 0, done.err
    page = photo.with_name("photo_compare.html")
    assert done.lines == [str(page)]
    assert "mambair-tiny-sr-x4" in page.read_text()


def test_compare_shows_deep_images_with_8_bits(mambair, tmp_path):
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 31, 3), np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    done = mambair("compare", tmp_path / "deep.tif", "--models", "tiny", "-o", tmp_path / "a.html")
    assert done.status == 0, done.err
    assert "data:image/webp" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", " , "), "--models names none"),
        (("--models", "tiny", "--scale", "4", "--sigma", "25"), "were asked for at once"),
        (("--models", "tiny", "-o", "page.png"), "page.png is no name of a page"),
        (("--models", "huge"), "no variant 'huge' for sr at scale 4"),
    ],
)
def test_compare_refuses_wrong_requests(mambair, photo, arguments, message):
    done = mambair("compare", photo, *arguments)
    assert done.status == 2
    assert message in done.err


def save(path, width, height, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC).save(path)


def test_any_folder_is_measured(mambair, weights, tmp_path):
    for seed, name in enumerate("ab"):
        save(tmp_path / "photos" / f"{name}.jpg", 52, 44, seed)
    done = mambair(
        *("bench", "--data", tmp_path / "photos", "--scale", "2", "--json"),
        *("--weights", weights / "sr-x2.safetensors"),
    )
    assert done.status == 0, done.err
    (row,) = (json.loads(line) for line in done.lines)
    assert (row["dataset"], row["images"], row["own"], row["complete"]) == ("photos", 2, True, True)
    assert row["inputs"] == "made"
    assert "warning" not in done.err


def test_a_set_of_ones_own_by_its_name(mambair, weights, tmp_path):
    save(tmp_path / "mine" / "photos" / "HR" / "a_HR.png", 52, 44)
    save(tmp_path / "mine" / "photos" / "LR" / "X2" / "a_LR.png", 26, 22)
    done = mambair(
        *("bench", "--dataset", "photos", "--data", tmp_path / "mine"),
        *("--weights", weights / "sr-x2.safetensors", "--scale", "2"),
    )
    assert done.status == 0, done.err
    assert done.lines[1].startswith("photos    test-sr-x2")
    assert "inputs of photos: as they come with the set" in done.err


def test_noisy_and_clean_pairs_of_ones_own(mambair, weights, tmp_path):
    save(tmp_path / "pairs" / "clean" / "a.png", 52, 44)
    save(tmp_path / "pairs" / "noisy" / "a.png", 52, 44, 3)
    for named in (("--weights", weights / "denoise-s25.safetensors"), ("--model", "tiny")):
        done = mambair("bench", "--data", tmp_path / "pairs", "--json", *named)
        assert done.status == 0, done.err
        (row,) = (json.loads(line) for line in done.lines)
        assert (row["task"], row["inputs"], row["own"]) == ("denoise", "given", True)


def test_other_images_called_set5_are_not_measured_beside_it(mambair, tmp_path):
    for seed, name in enumerate(["baby", "bird", "butterfly", "head", "woman"]):
        save(tmp_path / "Set5" / f"{name}.png", 52, 44, seed)
    request = ("bench", "--data", tmp_path / "Set5", "--model", "tiny", "--scale", "2")
    done = mambair(*request, "--json")
    assert done.status == 0, done.err
    assert "holds other images than Set5" in done.err
    assert "Table" not in done.err
    (row,) = (json.loads(line) for line in done.lines)
    assert (row["own"], row["reported_psnr"], row["complete"]) == (True, None, True)


def test_a_perfect_image_is_valid_json(mambair, weights, tmp_path):
    Image.new("RGB", (52, 44)).save(tmp_path / "black.png")
    save(tmp_path / "b.png", 52, 44)
    files = [tmp_path / f"report.{kind}" for kind in ("html", "json")]
    done = mambair(
        *("bench", "--data", tmp_path, "--sigma", "25", "--json"),
        *("--weights", weights / "denoise-s25.safetensors"),
        *(word for file in files for word in ("--report", file)),
    )
    assert done.status == 0, done.err
    strict = {"parse_constant": pytest.fail}
    for line in done.lines:
        json.loads(line, **strict)
    assert json.loads(files[1].read_text(), **strict)["runs"]
    page = files[0].read_text()
    data = page.split('<script id="data" type="application/json">')[1].split("</script>")[0]
    json.loads(data, **strict)


def test_a_page_replaces_nothing_unless_it_may(mambair, photo, tmp_path):
    page, link = tmp_path / "keep.html", tmp_path / "link.html"
    page.write_text("precious")
    link.symlink_to(page)
    for target in (page, link):
        done = mambair("compare", photo, "--models", "tiny", "-o", target)
        assert (done.status, done.lines) == (1, [])
        assert f"error: {target} exists already" in done.err
    done = mambair("compare", photo, "--models", "tiny", "-o", link, "--overwrite")
    assert done.status == 0, done.err
    assert link.read_text().startswith("<!doctype html>")
    assert page.read_text() == "precious"


@pytest.mark.parametrize("make", ["", "symlink_to", "hardlink_to"])
def test_a_page_never_replaces_the_image(mambair, photo, tmp_path, make):
    image, page = photo.with_name("pic.html"), tmp_path / "page.html"
    photo.rename(image)
    content = image.read_bytes()
    if make:
        getattr(page, make)(image)
    done = mambair(
        *("compare", image, "--models", "tiny", "-o", page if make else image, "--overwrite")
    )
    assert done.status == 2
    assert f"would be written over the input {image}" in done.err
    assert image.read_bytes() == content


def test_a_report_replaces_nothing_unless_it_may(mambair, sets, weights, tmp_path):
    report = tmp_path / "report.csv"
    report.write_text("precious")
    asked = ("bench", "--dataset", "Set5", "--data", sets, "--scale", "2", "-q")
    asked += ("--weights", weights / "sr-x2.safetensors", "--report", report)
    refused = mambair(*asked)
    assert (refused.status, report.read_text()) == (1, "precious")
    assert f"error: {report} exists already" in refused.err
    done = mambair(*asked, "--overwrite")
    assert done.status == 0, done.err
    assert report.read_text() != "precious"
