from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mambair_cli.checkpoints import convert as conversion
from mambair_cli.checkpoints.convert import convert, write_checkpoint
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.state_dict import read_checkpoint
from mambair_cli.errors import CheckpointError, OutputError, UsageError
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import ModelSpec


@pytest.fixture
def network(config, state):
    network = build_network(config)
    network.load_state_dict(state)
    return network


def same(path, state):
    tensors = read_checkpoint(path).tensors
    return tensors.keys() == state.keys() and all(torch.equal(tensors[k], state[k]) for k in state)


def test_conversion_keeps_every_tensor_and_says_where_they_come_from(saved, state, config):
    source = saved({"params_ema": state}, "photo model.pth")
    target = source.with_name("photo-model.safetensors")
    spec = convert(source, target)
    assert spec == ModelSpec("photo model", "sr", 2, 3)
    assert same(target, state)
    metadata = read_checkpoint(target).metadata
    assert metadata["mambair.source"] == "photo model.pth"
    assert metadata["mambair.source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert metadata["mambair.version"]
    assert metadata["format"] == "pt"
    loaded = load_checkpoint(target)
    assert (loaded.network.config, loaded.spec) == (config, spec)
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "photo model.pth",
        "photo-model.safetensors",
    ]


def test_conversion_takes_a_given_purpose_and_keeps_earlier_metadata(tmp_path, saved, state):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    purpose = ModelSpec("mine", "realsr", 2, 3)
    convert(saved(state), first, spec=purpose)
    assert load_checkpoint(first).spec == purpose
    with_note = tmp_path / "note.safetensors"
    save_file(state, with_note, read_checkpoint(first).metadata | {"note": "kept"})
    assert convert(with_note, second) == purpose
    assert read_checkpoint(second).metadata["note"] == "kept"


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_smaller_number_formats(tmp_path, saved, state, name, dtype):
    source, target = saved(state), tmp_path / "half.safetensors"
    convert(source, target, dtype=name)
    assert same(target, {key: value.to(dtype) for key, value in state.items()})
    again = tmp_path / "again.safetensors"
    convert(target, again)
    assert inspect_checkpoint(again).dtypes == (str(dtype).removeprefix("torch."),)
    convert(target, again, dtype="fp32", overwrite=True)
    assert inspect_checkpoint(again).dtypes == ("float32",)


def test_tensors_that_share_memory_are_written_apart(tmp_path, saved, state):
    shared = torch.arange(12.0)
    tied = {**state, "norm.weight": shared, "norm.bias": shared.view(3, 4).t().reshape(12)}
    tied["patch_embed.norm.weight"] = shared
    target = tmp_path / "apart.safetensors"
    convert(saved(tied), target)
    assert same(target, tied)


def test_an_existing_target_is_kept_unless_told_otherwise(tmp_path, saved, state):
    target = tmp_path / "taken.safetensors"
    target.write_text("mine")
    source = saved(state)
    with pytest.raises(OutputError) as caught:
        convert(source, target)
    assert caught.value.message == f"{target} already exists"
    assert target.read_text() == "mine"
    convert(source, target, overwrite=True)
    assert same(target, state)


def test_the_source_is_never_overwritten(tmp_path, state):
    source, link = tmp_path / "weights.safetensors", tmp_path / "link.safetensors"
    save_file(state, source)
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(UsageError, match="is the source itself"):
            convert(source, target, overwrite=True)
    assert same(source, state)


def test_other_suffixes_are_refused(saved, state):
    source = saved(state)
    with pytest.raises(UsageError) as caught:
        convert(source, source.with_name("new.pth"))
    assert caught.value.hint == "name it new.safetensors"


def test_a_source_of_another_network_writes_nothing(tmp_path, saved):
    with pytest.raises(CheckpointError, match="not a MambaIR network"):
        convert(saved({"weight": torch.zeros(2)}), tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def test_an_unwritable_target_leaves_nothing_behind(tmp_path, saved, state, monkeypatch):
    source = saved(state)
    monkeypatch.setattr(conversion, "open_checkpoint", None)  # it is told before the file is read
    for folder, reason in (
        ("missing", "No such file or directory"),
        (source.name, "Not a directory"),
    ):
        target = tmp_path / folder / "new.safetensors"
        with pytest.raises(OutputError) as caught:
            convert(source, target)
        assert caught.value.message == f"{target} cannot be written: {reason}"
        assert caught.value.hint == "check that its folder exists and is writable"
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_an_interrupted_write_keeps_the_old_file(tmp_path, network, state, monkeypatch):
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, network)

    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with torch.no_grad():
        network.norm.bias.add_(1)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, network)
    assert same(path, state)
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_network_is_written_with_everything_known(tmp_path, network, config):
    path = tmp_path / "run.safetensors"
    unusual = replace(config, img_range=255.0, mlp_ratio=1.52)
    network.config = unusual
    spec = ModelSpec("mine", "sr", 2, 3)
    write_checkpoint(path, network, spec, {"step": "100"})
    loaded = load_checkpoint(path)
    assert (loaded.network.config, loaded.spec) == (unusual, spec)
    assert read_checkpoint(path).metadata["step"] == "100"
    assert "after" not in read_checkpoint(path).metadata["mambair.spec"]


def test_what_weights_follow_is_written(tmp_path, network):
    path = tmp_path / "run.safetensors"
    spec = ModelSpec("mine", "realsr", 2, 3, after="dejpeg")
    write_checkpoint(path, network, spec)
    assert load_checkpoint(path).spec == spec


def test_inspection(tmp_path, saved, state, config):
    path = saved({"params": state})
    report = inspect_checkpoint(path)
    assert (report.path, report.format, report.wrapper) == (path, "pickle", "params")
    assert (report.network, report.config) == ("MambaIR", config)
    assert report.spec == ModelSpec("weights", "sr", 2, 3)
    assert report.parameters == sum(value.numel() for value in state.values())
    assert (report.tensors, report.dtypes) == (len(state), ("float32",))
    assert report.size == path.stat().st_size
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.metadata == {}
    converted = tmp_path / "weights.safetensors"
    convert(path, converted)
    assert inspect_checkpoint(converted).metadata["mambair.source"] == "weights.pth"


def test_others_may_read_what_was_written(tmp_path, network):
    other = tmp_path / "other"
    other.touch()
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, network)
    assert path.stat().st_mode == other.stat().st_mode
