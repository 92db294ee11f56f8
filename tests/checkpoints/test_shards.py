"""Weights that lie in several files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mambair_cli as mambair
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.shards import digest_of, files_of
from mambair_cli.disk import sha256_of
from mambair_cli.errors import CheckpointError

WHOLE = "mambair-tiny-sr-x2.safetensors"


@pytest.fixture(scope="module")
def state():
    return load_file(catalogue.bundled_directory() / WHOLE)


def split(folder, state, suffix, prefix=""):
    """Write the state in two parts with their index; return the index."""
    keys = list(state)
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    names = {}
    for number, part in enumerate((keys[::2], keys[1::2]), start=1):
        name = f"{stem}-{number:05}-of-00002{suffix}"
        tensors = {prefix + key: state[key].clone() for key in part}
        write = save_file if suffix == ".safetensors" else torch.save
        write(tensors, folder / name)
        names |= dict.fromkeys(tensors, name)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return index


@pytest.mark.parametrize("prefix", ["", "module.", "net_g."])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_parts_are_read_as_one(tmp_path, state, suffix, prefix):
    index = split(tmp_path, state, suffix, prefix)
    parts = files_of(index)
    assert len(parts) == 2
    for path in (index, *parts):
        loaded = load_checkpoint(path)
        found = loaded.network.state_dict()
        assert all(torch.equal(found[key], state[key]) for key in state)
        assert loaded.sha256 == digest_of(index)
    inspected = inspect_checkpoint(index)
    assert inspected.size == sum(part.stat().st_size for part in parts)
    assert inspected.sha256 == digest_of(index)


def test_the_digest_is_of_all_parts(tmp_path, state):
    index = split(tmp_path, state, ".safetensors")
    before = digest_of(index)
    second = files_of(index)[1]
    save_file({key: value * 2 for key, value in load_file(second).items()}, second)
    assert digest_of(index) != before
    assert digest_of(second) == digest_of(index)
    whole = catalogue.bundled_directory() / WHOLE
    assert digest_of(whole) == sha256_of(whole)


def test_a_model_in_parts_restores_the_same(tmp_path, state):
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    options = {"device": "cpu", "scan": "torch"}
    expected = mambair.restore(image, mambair.load_model("mambair-tiny-sr-x2", **options))
    model = mambair.load_model(split(tmp_path, state, ".bin"), **options)
    np.testing.assert_array_equal(mambair.restore(image, model), expected)


def test_missing_parts_are_named(tmp_path, state):
    index = split(tmp_path, state, ".safetensors")
    first, second = files_of(index)
    second.unlink()
    for path in (index, first):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        assert caught.value.hint == f"join the parts in one folder: there is no {second.name}"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": "../../x.bin"}}', "\0"]
)
def test_an_index_of_nothing(tmp_path, content):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(CheckpointError, match="lists the parts of weights, and holds none itself"):
        load_checkpoint(index)


def test_parts_that_hold_the_same(tmp_path, state):
    index = split(tmp_path, state, ".safetensors")
    first, second = files_of(index)
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match="of parts that do not belong together"):
        load_checkpoint(index)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8])
def test_quantised_weights_are_refused_with_a_hint(tmp_path, state, dtype):
    path = tmp_path / "quantised.safetensors"
    save_file({key: value.to(dtype) for key, value in state.items()}, path)
    with pytest.raises(CheckpointError, match="expected float32, float16") as caught:
        load_checkpoint(path)
    assert caught.value.hint == "these weights were quantised: get those that they were made of"
