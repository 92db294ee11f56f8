"""`mambair models`: the list, and what is said about weights files."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mambair_cli.checkpoints.catalogue import entries


def test_list_names_every_model(mambair):
    outcome = mambair("models", "list")
    assert (outcome.status, outcome.err) == (0, "")
    header, *rows = outcome.lines
    assert header.split() == ["model", "task", "--model", "parameters", "weights"]
    assert [row.split()[0] for row in rows] == [entry.id for entry in entries()]
    assert rows[0].split()[-1] == "bundled"


def test_list_as_json_is_one_object_a_line(mambair):
    rows = [json.loads(line) for line in mambair("models", "list", "--json").lines]
    assert [row["id"] for row in rows] == [entry.id for entry in entries()]
    assert rows[0]["scale"] == 4


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
