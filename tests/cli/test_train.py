"""`mambair train`: what it shows, writes and refuses."""

from __future__ import annotations

import json
import re

import pytest

RECIPE = """
[model]
id = "test-sr-x2"
task = "sr"

[network]
upscale = 2
embed_dim = 16
d_state = 4
depths = [1]

[data]
folders = ["pictures"]
patch = 8
batch = 2

[optim]
iterations = 4
warmup = 1

[validation]
folders = ["pictures"]
every = 2

[run]
log_every = 2
"""


@pytest.fixture
def recipe(make_image, tmp_path):
    """A recipe of four iterations beside its images."""
    make_image(tmp_path / "pictures" / "a.png", 21, 18)
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_a_run_is_told_and_leaves_weights(mambair, recipe, tmp_path):
    run = tmp_path / "run"
    outcome = mambair("train", recipe, "-o", run, "--scan", "reference")
    assert (outcome.status, outcome.lines) == (0, [str(run / "best.safetensors")]), outcome.err
    lines = outcome.err.splitlines()
    assert lines[0].startswith("device: cpu (")
    assert lines[1].startswith("training for 4 iterations: ")
    assert lines[1].endswith(" parameters, 1 image")
    assert lines[2].startswith("2/4  loss ")
    assert " it/s" in lines[2]
    assert "iteration 2: pictures " in lines[3]
    assert lines[3].endswith("dB (the best so far)")
    assert mambair("models", "inspect", run / "best.safetensors").status == 0


def test_json_tells_every_event(mambair, recipe, tmp_path):
    outcome = mambair(
        "train", recipe, "-o", tmp_path / "run", "--scan", "reference", "--json", "-q"
    )
    told = [json.loads(line) for line in outcome.lines]
    names = [event["event"] for event in told if event["event"] != "saved"]
    assert names == ["started", *2 * ["progress", "validated"], "finished"]
    progress = next(event for event in told if event["event"] == "progress")
    assert progress["iteration"] == 2
    assert progress["loss"] > 0
    assert told[-1]["last"] == str(tmp_path / "run" / "last.safetensors")
    assert outcome.err == ""


def test_a_finished_run_can_be_resumed_and_not_started_again(mambair, recipe, tmp_path):
    arguments = ("train", recipe, "-o", tmp_path / "run", "--scan", "reference")
    assert mambair(*arguments).status == 0
    again = mambair(*arguments)
    assert again.status == 2
    assert f"error: {tmp_path / 'run'} already holds a training run\n\nhint: go on" in again.err
    recipe.write_text(RECIPE.replace("iterations = 4", "iterations = 6"))
    longer = mambair(*arguments, "--resume")
    assert longer.status == 0
    assert "resuming at iteration 4 of 6 iterations" in longer.err


def test_data_may_be_elsewhere(mambair, recipe, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "pictures").rename(tmp_path / "data" / "pictures")
    missing = mambair("train", recipe, "-o", tmp_path / "run", "--scan", "reference")
    assert missing.status == 2
    assert f"error: the data folder {tmp_path / 'pictures'} does not exist" in missing.err
    run = mambair(
        "train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run", "--scan", "reference"
    )
    assert run.status == 0


def test_an_unknown_key_is_an_error(mambair, recipe, tmp_path):
    recipe.write_text(RECIPE.replace("patch = 8", "pach = 8"))
    outcome = mambair("train", recipe, "-o", tmp_path / "run", "--scan", "reference")
    assert (outcome.status, outcome.out) == (2, "")
    assert "error: unknown key data.pach in the recipe\n\nhint: did you mean patch?" in outcome.err
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_read_are_left_out_and_told(mambair, recipe, tmp_path):
    for name in ("b.png", "c.png"):
        (tmp_path / "pictures" / name).write_text("not an image")
    arguments = ("train", recipe, "--scan", "reference", "-o")
    outcome = mambair(*arguments, tmp_path / "run")
    assert outcome.status == 0, outcome.err
    kinds = "PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL"
    assert outcome.err.splitlines()[1:5] == [
        f"warning: left out: {tmp_path / 'pictures' / 'b.png'} is not a {kinds} image",
        "hint: convert it to PNG first, or download it again if it should be one of these",
        "training for 4 iterations: 9,913 parameters, 1 image",
        "warning: 2 images left out, not readable",
    ]
    told = mambair(*arguments, tmp_path / "again", "--json").events
    left_out = [event["path"] for event in told if event["event"] == "unreadable"]
    assert left_out == [str(tmp_path / "pictures" / name) for name in ("b.png", "c.png")]
    assert next(event for event in told if event["event"] == "started")["unreadable_images"] == 2


@pytest.mark.parametrize(("width", "few"), [(40, False), (16, True)])
def test_how_much_of_the_initial_weights_was_taken(mambair, recipe, tmp_path, width, few):
    text = RECIPE.replace('task = "sr"', 'task = "sr"\ninit = "mambair-tiny-sr-x4"')
    recipe.write_text(text.replace("embed_dim = 16", f"embed_dim = {width}"))
    outcome = mambair("train", recipe, "-o", tmp_path / "run", "--scan", "reference")
    assert outcome.status == 0, outcome.err
    assert re.search(
        r"^(warning: )?\d+ of \d+ tensors taken from the initial", outcome.err, re.MULTILINE
    )
    assert (": the rest begins at random" in outcome.err) is few
