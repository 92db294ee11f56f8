from __future__ import annotations

import argparse
import collections
import datetime as dt
import errno
import os
import pathlib
import pickle
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mambair_cli.checkpoints.state_dict import read_checkpoint
from mambair_cli.errors import CheckpointError


class Malicious:
    """Unpickled the usual way, it leaves a file behind."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def same(tensors, state):
    return tensors.keys() == state.keys() and all(torch.equal(tensors[k], state[k]) for k in state)


def wrong(state):
    return {key: torch.full_like(value, -1) for key, value in state.items()}


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


WRAPPINGS = {
    "bare": ("", lambda s: s),
    "ordered": ("", collections.OrderedDict),
    "params": ("params", lambda s: {"params": s}),
    "averaged": ("params_ema", lambda s: {"params": wrong(s), "params_ema": s}),
    "lightning": ("state_dict", lambda s: {"epoch": 3, "state_dict": s}),
    "model": ("model", lambda s: {"model": s, "optimizer": {"state": {}}}),
    "nested": ("model.params", lambda s: {"model": {"params": s}}),
    "parallel": ("params", lambda s: {"params": prefixed(s, "module.")}),
    "compiled": ("", lambda s: prefixed(s, "_orig_mod.")),
    "both": ("", lambda s: prefixed(s, "_orig_mod.module.")),
    "empty average": ("params", lambda s: {"params": s, "params_ema": None}),
    "counters": ("", lambda s: {**s, "step": 7}),
    "parameters": ("", lambda s: {key: nn.Parameter(value) for key, value in s.items()}),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickles_are_unwrapped(saved, state, wrapping, zipped):
    wrapper, wrap = WRAPPINGS[wrapping]
    path = saved(wrap(state), _use_new_zipfile_serialization=zipped)
    raw = read_checkpoint(path)
    assert same(raw.tensors, state)
    assert (raw.format, raw.wrapper, raw.metadata) == ("pickle", wrapper, {})
    assert not any(tensor.requires_grad for tensor in raw.tensors.values())


def test_safetensors_with_metadata(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file(state, path, {"trained by": "someone"})
    raw = read_checkpoint(path)
    assert same(raw.tensors, state)
    assert (raw.format, raw.metadata) == ("safetensors", {"trained by": "someone"})


@pytest.mark.parametrize("prefix", ["", "module."])
def test_content_decides_and_not_the_suffix(tmp_path, saved, state, prefix):
    path = tmp_path / "weights.pth"
    save_file(prefixed(state, prefix), path)
    assert same(read_checkpoint(path).tensors, state)
    assert same(read_checkpoint(saved(state, "weights.safetensors")).tensors, state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_is_refused_by_name_and_not_run(tmp_path, saved, state, zipped):
    mark = tmp_path / "ran"
    path = saved({"params": state, "extra": Malicious(mark)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    wanted = f"{os.system.__module__}.system"
    assert caught.value.message == (
        f"{path} was refused: it wants to run {wanted}, and weights need no code"
    )
    assert "torch.save(network.state_dict(), FILE)" in caught.value.hint
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_is_refused_too(tmp_path, protocol):
    path, mark = tmp_path / "weights.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Malicious(mark), protocol=protocol))
    with pytest.raises(
        CheckpointError, match=r"wants to run \w+\.system, and weights need no code"
    ):
        read_checkpoint(path)
    assert not mark.exists()


def test_harmless_code_is_refused_as_well(saved):
    with pytest.raises(CheckpointError, match=r"wants to run torch\.nn\.modules\.conv\.Conv2d"):
        read_checkpoint(saved(nn.Conv2d(3, 4, 1)))
    with pytest.raises(CheckpointError, match=r"wants to run numpy\.\S+_reconstruct"):
        read_checkpoint(saved({"params": np.zeros(3)}))


DOWNLOAD_AGAIN = "download it again, and compare its size with the size on the page it came from"
BROKEN = {
    "empty": (b"", "is empty (0 bytes)", DOWNLOAD_AGAIN),
    "web page": (
        b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
        "is a web page, not a weights file",
        "the download saved an error or log-in page: fetch the file itself",
    ),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "is a Git LFS pointer, not the weights themselves",
        "run `git lfs pull` in its repository, or download the file from its page",
    ),
    "text": (
        "Gewichte: später\n".encode(),
        "is a text file, not a weights file",
        "expected .safetensors, or .pth as written by torch.save",
    ),
    "unknown": (
        bytes(range(1, 64)),
        "is of an unknown format, not a weights file",
        "expected .safetensors, or .pth as written by torch.save",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_file_is_named(tmp_path, kind, suffix):
    content, message, hint = BROKEN[kind]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert (caught.value.message, caught.value.hint) == (f"{path} {message}", hint)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
def test_truncated_files_are_damaged(tmp_path, saved, state, kind, kept):
    path = tmp_path / "weights.pth"
    if kind == "safetensors":
        save_file(state, path)
    else:
        saved(state, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert f"{path} is damaged or was cut short" in caught.value.message
    assert caught.value.hint == DOWNLOAD_AGAIN


def test_any_damage_is_reported_and_nothing_else_is_raised(tmp_path, saved, state):
    small = {key: value for key, value in state.items() if value.numel() < 20}
    path = tmp_path / "weights.pth"
    generator = np.random.default_rng(0)
    for zipped in (True, False):
        saved({"params": small}, _use_new_zipfile_serialization=zipped)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = content.copy()
            damaged[generator.integers(len(content), size=4)] = generator.integers(256, size=4)
            path.write_bytes(damaged.tobytes())
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                assert str(path) in error.message  # noqa: PT017


NO_STATE = {
    "tensor": (torch.zeros(2), "a Tensor"),
    "list": ([torch.zeros(2)], "a list"),
    "nothing": ({}, "an empty dictionary"),
    "numbers": ({"epoch": 3, "loss": 0.5}, "the keys epoch, loss"),
    "empty params": ({"params": {}}, "the keys params"),
}


@pytest.mark.parametrize("kind", NO_STATE)
def test_a_pickle_without_state_dict(saved, kind):
    content, found = NO_STATE[kind]
    path = saved(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.message == f"{path} holds no state dict, but {found}"
    assert caught.value.hint.startswith("expected a dictionary of tensors, at the top or under: ")


def test_safetensors_without_tensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({}, path)
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_named(tmp_path):
    path = tmp_path / "weights.pt"
    torch.jit.script(nn.ReLU()).save(path)
    with pytest.raises(CheckpointError, match="is a TorchScript program, not a state dict"):
        read_checkpoint(path)


def test_missing_file_names_what_is_close(tmp_path, saved):
    saved({}, "MambaIR_lightSRx4.pth")
    saved({}, "other.pth")
    (tmp_path / "photo.png").touch()
    path = tmp_path / "MambaIR_lightSR_x4.pth"
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.message == f"no such weights file: {path}"
    assert caught.value.hint == f"{tmp_path} holds: MambaIR_lightSRx4.pth"


def test_missing_file_where_nothing_is(tmp_path):
    for path in (tmp_path / "a.pth", tmp_path / "no folder" / "a.pth"):
        with pytest.raises(CheckpointError, match="no such weights file") as caught:
            read_checkpoint(path)
        assert "--weights takes a .safetensors or .pth file" in caught.value.hint


def test_directory(tmp_path, saved):
    with pytest.raises(CheckpointError, match="is a directory, not a weights file") as caught:
        read_checkpoint(tmp_path)
    assert caught.value.hint.startswith("a folder of a model holds model.safetensors")
    saved({}, "a.pth")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path)
    assert caught.value.hint == "name one of its files: a.pth"


def test_unreadable_file(saved, state, monkeypatch):
    path = saved(state)

    def refuse(_path, _mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        read_checkpoint(path)


def with_many(state):
    return {
        "ema": {"ema": state},
        "dash": {"params": wrong(state), "params-ema": state},
        "timm": {"state_dict": wrong(state), "state_dict_ema": state},
        "lornatang": {"epoch": 3, "state_dict": wrong(state), "ema_state_dict": state},
        "model": {"model": wrong(state), "model_ema": state, "optimizer": {"state": {}}},
        "stylegan": {"g": wrong(state), "g_ema": state, "d": {"conv": torch.zeros(3)}},
        "averaged": {"model": wrong(state), "averaged_model": {"state_dict": state}},
        "mmagic": {
            "meta": {},
            "state_dict": {
                **prefixed(wrong(state), "generator."),
                **prefixed(state, "generator_ema."),
                "step_counter": torch.zeros(1),
            },
        },
    }


@pytest.mark.parametrize("kind", with_many({}))
def test_averaged_weights_go_first_and_it_is_told(saved, state, kind):
    raw = read_checkpoint(saved(with_many(state)[kind]))
    assert same(raw.tensors, state)
    if kind != "ema":
        assert "were taken, not " in raw.notes[0]


def with_more(state):
    compiled = {key.replace("layers.0.", "layers.0._orig_mod."): v for key, v in state.items()}
    counter = torch.zeros(1, dtype=torch.float64)
    return {
        "lightning": ({"state_dict": prefixed(state, "model.")}, ""),
        "lightning compiled": ({"state_dict": prefixed(state, "model._orig_mod.")}, ""),
        "accelerate": (prefixed(state, "netG."), ""),
        "compiled in part": (compiled, ""),
        "own name": ({"epoch": 1, "my_best_net": state, "optimizer": {}}, ""),
        "pairs": (list(state.items()), ""),
        "tuple": ((state, {"epoch": 1}), ""),
        "swa": ({"n_averaged": torch.tensor(7), **prefixed(state, "module.")}, "n_averaged"),
        "thop": (
            {**state, "total_ops": counter, "layers.0.total_params": counter},
            "total_ops, layers.0.total_params",
        ),
        "mean": ({**state, "mean": torch.zeros(1, 3, 1, 1)}, "mean"),
        "loss": (
            {"state_dict": {**prefixed(state, "net_g."), "loss.weight": torch.zeros(3)}},
            "loss.weight",
        ),
    }


@pytest.mark.parametrize("kind", with_more({}))
def test_what_stands_around_and_beside_a_network_is_left_out(saved, state, kind):
    content, left_out = with_more(state)[kind]
    raw = read_checkpoint(saved(content))
    assert same(raw.tensors, state)
    assert raw.notes == (
        (f"left out, as they are not the network's: {left_out}",) if left_out else ()
    )


def test_prefixes_of_safetensors(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file({"n_averaged": torch.tensor(7), **prefixed(state, "model.")}, path)
    raw = read_checkpoint(path)
    assert same(raw.tensors, state)
    assert raw.notes == ("left out, as they are not the network's: n_averaged",)


INERT = {
    "scalar": np.float64(31.2),
    "namespace": argparse.Namespace(lr=1e-3, betas=[0.9]),
    "simple": types.SimpleNamespace(a={1: 2}),
    "path": pathlib.PurePosixPath("/data/x"),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "date": dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    "all": [np.float32(1), argparse.Namespace(path=Path("a"))],
}


@pytest.mark.parametrize("kind", INERT)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_inert_values_beside_the_weights_are_read_over(saved, state, kind, zipped):
    content = {"params": state, "extra": INERT[kind]}
    path = saved(content, _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(path).tensors, state)


def test_the_same_dictionary_many_times_takes_no_time(saved):
    content = {"epoch": 1}
    for _ in range(12):
        content = {f"part {i}": content for i in range(60)}
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_checkpoint(saved(content))


def test_containers_are_named_rightly(tmp_path, saved, state):
    def message(path):
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        return caught.value.message.removeprefix(f"{path} "), caught.value.hint

    what, _ = message(saved(state, pickle_protocol=4))
    assert what == "is a pickle of protocol 4, which the restricted reader cannot read"
    np.savez(tmp_path / "a.npz", **{key: value.numpy() for key, value in state.items()})
    what, _ = message(tmp_path / "a.npz")
    assert what == "is an archive of NumPy arrays, not a weights file"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(saved(state, "net.pth"), "net.pth")
    what, hint = message(tmp_path / "a.zip")
    assert what == "is a ZIP archive, not a weights file"
    assert hint == "unpack it, and name what is inside: net.pth"
    part = tmp_path / "model-00002-of-00003.safetensors"
    save_file(state, part)
    what, hint = message(part)
    assert what == "is part 2 of 3 of the weights"
    assert hint.startswith("join the parts")
    assert hint.endswith(
        "there is no model-00001-of-00003.safetensors, model-00003-of-00003.safetensors"
    )
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("{}")
    assert message(index)[0] == "lists the parts of weights, and holds none itself"
