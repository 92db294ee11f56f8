"""`mambair fix`: from what people bring to what they get, with the bundled weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from event_lines import read_events
from PIL import Image

from mambair_cli.batches import stages

CAT = Path(__file__).parents[2] / "examples" / "cat.png"
EXIF = 0x010F, "A camera"


@pytest.fixture
def photo(tmp_path):
    """Saves a part of a photograph, 72x56 pixels."""

    def save(name, **options):
        picture = Image.open(CAT).convert("RGB").crop((40, 30, 112, 86))
        exif = Image.Exif()
        exif[EXIF[0]] = EXIF[1]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        picture.save(path, exif=exif, **options)
        return path

    return save


def test_a_photograph_gets_better_in_one_pass(mambair, photo, tmp_path):
    source = photo("photo.jpg", quality=41)
    outcome = mambair("fix", source)
    target = tmp_path / "photo_fixed.jpg"
    assert (outcome.status, outcome.lines) == (0, [str(target)])
    found = "found: 72x56 pixels, JPEG quality 41 with 4:2:0: dejpeg, denoise --real at 40%"
    assert f"{source}: {found}\n" in outcome.err
    assert "nearest trained level" not in outcome.err
    result = Image.open(target)
    assert (result.size, result.getexif()[EXIF[0]]) == ((72, 56), EXIF[1])
    truth = np.asarray(Image.open(CAT).convert("RGB").crop((40, 30, 112, 86))).astype(float)
    errors = [np.mean((np.asarray(Image.open(path)) - truth) ** 2) for path in (source, target)]
    assert errors[1] < 0.9 * errors[0]


def test_a_good_picture_is_the_same_file(mambair, photo, tmp_path):
    source = photo("good.jpg", quality=98)
    outcome = mambair("fix", source)
    assert outcome.status == 0
    assert "JPEG quality 98 with 4:2:0: left alone, nothing to gain" in outcome.err
    assert (tmp_path / "good_fixed.jpg").read_bytes() == source.read_bytes()


def test_a_size_enlarges_at_last(mambair, photo, tmp_path):
    source = photo("small.jpg", quality=50)
    outcome = mambair("fix", "--scale", "1.5", source)
    assert outcome.lines == [str(tmp_path / "small_fixed_x1.5.jpg")]
    assert ": dejpeg, denoise --real at 40%, realsr x2\n" in outcome.err
    assert Image.open(tmp_path / "small_fixed_x1.5.jpg").size == (108, 84)
    assert mambair("fix", "--long-side", "150", source).status == 0
    assert Image.open(tmp_path / "small_fixed_150px.jpg").size == (150, 117)
    refused = mambair("fix", "--long-side", "50", source)
    assert refused.status == 1
    assert "that is no enlargement" in refused.err


def test_an_animation_is_treated_as_one(mambair, tmp_path):
    """Its second frame alone would be left alone, and the film would flicker."""
    clean = np.asarray(Image.open(CAT).convert("RGB").crop((40, 30, 112, 86)))
    noise = np.random.default_rng(0).normal(0, 20, (3, *clean.shape))
    noisy = np.rint(clean + noise).clip(0, 255).astype(np.uint8)
    frames = [Image.fromarray(each) for each in (noisy[0], clean, noisy[1], noisy[2])]
    source = tmp_path / "film.webp"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=80, lossless=True)
    told = mambair("fix", source, "--dry-run").err
    outcome = mambair("fix", source)
    assert outcome.status == 0
    assert outcome.err.count("found: all frames alike: 72x56 pixels, noise ") == 1
    assert "all frames alike: 72x56 pixels, noise " in told
    made = Image.open(tmp_path / "film_fixed.webp")
    assert made.n_frames == 4
    for index in range(4):
        made.seek(index)
        assert not np.array_equal(np.asarray(made.convert("RGB")), np.asarray(frames[index]))


def test_a_folder_is_gone_through_and_taken_up_again(mambair, photo, tmp_path):
    photo("in/a.jpg", quality=30)
    photo("in/b.png")
    out = tmp_path / "out"
    outcome = mambair("fix", tmp_path / "in", "-o", out, "--json")
    assert outcome.status == 0
    events = read_events(outcome.out)
    told = {
        Path(event["source"]).name: event["steps"]
        for event in events
        if event["event"] == "file_noted" and event["steps"] is not None
    }
    assert told == {
        "a.jpg": [
            {"task": "dejpeg", "scale": None, "sigma": None, "quality": 30, "share": 1.0},
            {
                "task": "denoise-real",
                "scale": None,
                "sigma": None,
                "quality": None,
                "share": 0.4,
            },
        ],
        "b.png": [],
    }
    done = {event["target"]: event for event in events if event["event"] == "file_done"}
    assert [event["left_alone"] for event in done.values()] == [False, True]
    assert (events[-1]["restored"], events[-1]["left_alone"]) == (1, 1)
    again = read_events(mambair("fix", tmp_path / "in", "-o", out, "--json", "--resume").out)
    assert [event["event"] for event in again if "skipped" in event["event"]] == [
        "file_skipped",
        "file_skipped",
    ]


def test_a_dry_run_only_tells(mambair, photo, tmp_path):
    source = photo("photo.jpg", quality=41)
    outcome = mambair("fix", source, "--scale", "2", "--dry-run", "--json")
    assert outcome.status == 0
    planned, plan = read_events(outcome.out)
    chain = "dejpeg, denoise --real at 40%, realsr x2"
    assert planned["found"] == f"72x56 pixels, JPEG quality 41 with 4:2:0: {chain}"
    assert [step["task"] for step in planned["steps"]] == ["dejpeg", "denoise-real", "realsr"]
    assert (planned["width"], planned["height"]) == (144, 112)
    assert plan["pixels"] == 72 * 56
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_one_picture_through_pipes(photo):
    source = photo("photo.jpg", quality=30)
    done = subprocess.run(
        [sys.executable, "-m", "mambair_cli", "fix", "-q", "-"],
        input=source.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"\xff\xd8")
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "mine.pth"), "fix takes several models, and --weights names one"),
        (("--model", "light"), "no variant 'light' for dejpeg"),
        (("--scale", "9"), "no sr model for scale 9"),
        (("--stream", "y4m", "-o", "-"), "a video would flicker"),
    ],
)
def test_what_fix_cannot_do(mambair, photo, arguments, message):
    outcome = mambair("fix", photo("photo.png"), *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert "\nhint: " in outcome.err


def test_files_that_cannot_be_read_do_not_stop_the_others(mambair, photo, tmp_path):
    photo("in/a.png")
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    outcome = mambair("fix", tmp_path / "in", "-o", tmp_path / "out")
    assert outcome.status == 1
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["a_fixed.png"]
    assert "b.jpg" in outcome.err


def test_json_is_all_there_is_on_standard_output(mambair, photo):
    outcome = mambair("fix", photo("photo.png"), "--json", "-q")
    assert [json.loads(line)["version"] for line in outcome.lines]
    assert outcome.err == ""


def test_a_dry_run_adds_up_what_the_models_take(mambair, photo, tmp_path):
    photo("in/a.jpg", quality=30)
    photo("in/b.png")
    outcome = mambair("fix", tmp_path / "in", "-o", tmp_path / "out", "--scale", "2", "--dry-run")
    assert outcome.status == 0
    assert "a_fixed_x2.jpg" in outcome.err
    assert ": 144x112 pixels, 5 tiles\n" in outcome.err
    assert ": 144x112 pixels, 1 tile\n" in outcome.err
    assert "\n2 images to restore, 0.0 megapixels, 6 tiles: about " in outcome.err
    alone = mambair("fix", tmp_path / "in", "-o", tmp_path / "out", "--dry-run")
    assert "\n1 image to restore, 0.0 megapixels, 1 left alone, 4 tiles: about " in alone.err
    only = mambair("fix", tmp_path / "in" / "b.png", "--dry-run")
    assert "\n0 images to restore, 1 left alone\n" in only.err


@pytest.mark.parametrize("size", [(), ("--scale", "1.5")], ids=" ".join)
def test_in_bands_it_is_the_same(mambair, photo, tmp_path, monkeypatch, size):
    source = photo("large.jpg", quality=35)
    common = ("fix", source, "--format", "png", "--tile", "32", *size)
    assert mambair(*common, "-o", tmp_path / "whole.png").status == 0
    monkeypatch.setattr(stages, "needs_bands", lambda *_: True)
    outcome = mambair(*common, "-o", tmp_path / "bands.png")
    assert outcome.status == 0
    assert ": dejpeg, denoise --real at 40%" in outcome.err
    whole, bands = (np.asarray(Image.open(tmp_path / f"{each}.png")) for each in ("whole", "bands"))
    np.testing.assert_array_equal(whole, bands)
