"""`mambair models`: the list, and what is said about weights files."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mambair_cli.checkpoints.catalogue import bundled_directory, entries
from mambair_cli.cli.options import complete_model, complete_variant


def test_list_names_every_model(mambair):
    outcome = mambair("models", "list")
    assert (outcome.status, outcome.err) == (0, "")
    header, *rows, _, _ = outcome.lines
    assert header.split() == ["model", "task", "trained", "on", "size", "licence", "weights"]
    assert [row.split()[0] for row in rows] == [entry.id for entry in entries()]
    assert rows[0].endswith("bicubic downscaling    0.6 MB  Apache-2.0 *  bundled ")
    assert rows[-1].endswith(
        "JPEG compression                      91.7 MB  Apache-2.0    not here"
    )


def test_terms_of_training_images_are_told_where_weights_are_chosen(mambair):
    lines = mambair("models", "list").lines
    assert lines[-2].startswith("* trained on images that are offered for research and education")
    marked = {line.split()[0] for line in lines[1:-2] if "Apache-2.0 *" in line}
    bundled = {entry.id for entry in entries() if entry.bundled}
    assert bundled < marked
    assert "mambair-real-sr-x4" not in marked  # nobody says what that one was trained on
    facts = {"BSDS400": "non-commercial research and education", "T91": "unknown"}
    shown = mambair("models", "show", "mambair-tiny-sr-x2").out
    file = bundled_directory() / "mambair-tiny-sr-x2.safetensors"
    inspected = mambair("models", "inspect", file)
    for name, terms in facts.items():
        for text in (shown, inspected.out):
            assert re.search(rf"^terms of {name} +{terms} *$", text, re.MULTILINE)
    for command in (("show", "mambair-tiny-sr-x2"), ("inspect", file)):
        (line,) = mambair("models", *command, "--json").lines
        assert json.loads(line)["terms"].items() >= facts.items()
    assert "terms of" not in mambair("models", "show", "mambair-real-sr-x4").out


def test_weights_of_somebody_else_have_other_terms(mambair, tmp_path):
    path = bundled_directory() / "mambair-tiny-sr-x2.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    own = tmp_path / "own.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, own, metadata)
    told = mambair("models", "inspect", own).out
    assert "mambair-tiny-sr-x2" in told
    assert "terms of" not in told
    assert "Apache" not in told


@pytest.mark.parametrize(("columns", "lines"), [(80, 2), (120, 1)])
def test_list_fits_the_terminal(mambair, monkeypatch, columns, lines):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in mambair("models", "list").lines]
    assert max(map(len, plain)) <= columns
    ids = [index for index, line in enumerate(plain) if line.startswith("mambair")]
    assert len(ids) == len(entries())
    assert ids[1] - ids[0] == lines


def test_show_says_what_is_known_and_what_is_not(mambair):
    outcome = mambair("models", "show", "mambair-real-sr-x4")
    assert (outcome.status, outcome.err) == (0, "")
    facts = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in outcome.lines)
    assert facts["use"] == "mambair realsr --model real IMAGE"
    assert facts["trained on"] == "unknown"
    assert facts["size"] == "82.6 MB expected"
    assert facts["weights"] == "not here; fetch them: mambair models pull mambair-real-sr-x4"
    assert facts["sha256"] == "unknown until they are fetched"
    assert facts["published scores"] == "none known"


def test_show_gives_the_published_scores(mambair):
    lines = mambair("models", "show", "mambair-classic-sr-x4").lines
    assert lines[-10].split() == ["Set5", "33.03", "0.9046", *["Table", "3,", "p.", "11"]]
    assert lines[-5].split() == [
        "Set5",
        "33.13",
        "0.9054",
        *["Table", "3,", "p.", "11,", "self-ensemble"],
    ]
    (line,) = mambair("models", "show", "mambair-classic-sr-x4", "--json").lines
    assert json.loads(line)["published"][0]["ssim"]["Set5"] == 0.9046


def test_ids_and_variants_complete(mambair):
    assert complete_model("mambair-light") == [
        "mambair-light-sr-x2",
        "mambair-light-sr-x3",
        "mambair-light-sr-x4",
    ]
    assert complete_variant("c") == ["classic"]
    assert complete_model("x") == []
    assert mambair("models", "show", "mambair-light-sr-x9").status == 2


def test_list_as_json_is_one_object_a_line(mambair):
    rows = [json.loads(line) for line in mambair("models", "list", "--json").lines]
    assert [row["id"] for row in rows] == [entry.id for entry in entries()]
    assert rows[0]["scale"] == 2


def test_inspect(mambair, weights):
    path = weights / "denoise-s25.safetensors"
    outcome = mambair("models", "inspect", path)
    assert (outcome.status, outcome.err) == (0, "")
    facts = dict(line.strip().partition(" ")[::2] for line in outcome.lines)
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["model"] == "test-denoise-s25"
    assert (facts["task"], facts["sigma"], facts["embed_dim"]) == ("denoise", "25", "16")
    assert len(facts["sha256"]) == 64


def test_inspect_as_json(mambair, weights):
    path = weights / "sr-x2.safetensors"
    (line,) = mambair("models", "inspect", path, "--json").lines
    found = json.loads(line)
    assert (found["path"], found["network"], found["config"]["upscale"]) == (
        str(path),
        "MambaIR",
        2,
    )


def test_convert_published_weights(mambair, weights, tmp_path):
    tensors = load_file(weights / "sr-x2.safetensors")
    source = tmp_path / "net.pth"
    torch.save({"params": {f"module.{key}": value for key, value in tensors.items()}}, source)
    outcome = mambair("models", "convert", source)
    target = tmp_path / "net.safetensors"
    assert (outcome.status, outcome.lines) == (0, [str(target)])
    assert load_file(target).keys() == tensors.keys()
    with safe_open(target, "pt") as file:
        assert json.loads(file.metadata()["mambair.config"])["upscale"] == 2


def test_convert_refuses_an_existing_file_unless_told(mambair, weights, tmp_path):
    target = tmp_path / "copy.safetensors"
    arguments = ("models", "convert", weights / "sr-x2.safetensors", "-o", target)
    assert mambair(*arguments).status == 0
    again = mambair(*arguments)
    assert (again.status, again.out) == (1, "")
    assert again.err.startswith(f"error: {target} already exists\n\nhint: use --overwrite")
    assert mambair(*arguments, "--overwrite").status == 0


@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_a_file_that_is_no_weights(mambair, tmp_path, command):
    path = tmp_path / "notes.pth"
    path.write_text("these are no weights")
    outcome = mambair("models", command, path)
    assert (outcome.status, outcome.out) == (1, "")
    assert f"error: {path} is a text file, not a weights file\n\nhint: " in outcome.err
