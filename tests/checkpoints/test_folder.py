"""Folders of one model, as PyTorchModelHubMixin writes and reads them, here and on the Hub."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub
from huggingface_hub import PyTorchModelHubMixin, constants, hf_hub_download
from safetensors.torch import load_file, save, save_file

from mambair_cli.checkpoints import cache, header
from mambair_cli.checkpoints.convert import convert
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.publish import push
from mambair_cli.errors import CheckpointError
from mambair_cli.kernels.block.attention import relative_positions
from mambair_cli.networks import (
    MambaIR,
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2,
    MambaIRv2Config,
    build_network,
)

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


class Theirs(MambaIR, PyTorchModelHubMixin):
    """The network with the arguments that the published class has, some of which change nothing."""

    def __init__(
        self,
        img_size: int = 64,  # noqa: ARG002
        in_chans: int = 3,
        embed_dim: int = 12,
        depths: tuple[int, ...] = (1,),
        d_state: int = 4,
        mlp_ratio: float = 1.5,
        drop_path_rate: float = 0.1,  # noqa: ARG002
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: str = "pixelshuffledirect",
        resi_connection: str = "1conv",
        **_: object,
    ) -> None:
        super().__init__(
            MambaIRConfig(
                upscale,
                in_chans,
                img_range,
                embed_dim,
                d_state,
                tuple(depths),
                mlp_ratio,
                upsampler,
                resi_connection,
            )
        )


class TheirsV2(MambaIRv2, PyTorchModelHubMixin):
    """The second network with the arguments that the published class has."""

    def __init__(self, img_size: int = 64, window_size: int = 16, **said: Any) -> None:  # noqa: ARG002
        del said["network"]
        super().__init__(MambaIRv2Config(window_size=window_size, **said))


class Ours(MambaIR, PyTorchModelHubMixin):
    """The network with a configuration of ours."""

    def __init__(self, config: MambaIRConfig) -> None:
        super().__init__(config)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder as PyTorchModelHubMixin writes it, of a network with another white level."""
    torch.manual_seed(0)
    Theirs(img_range=255.0, mlp_ratio=1.55).save_pretrained(tmp_path / "net-x2")
    return tmp_path / "net-x2"


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def restated(folder: Path, **changes) -> None:
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | changes))


def test_a_folder_of_this_machine(folder, config):
    assert {WEIGHTS, CONFIG} <= files_in(folder).keys()
    for named in (folder, folder / WEIGHTS):
        assert resolve(str(named)) == folder / WEIGHTS
        loaded = load_checkpoint(resolve(str(named)))
        assert loaded.network.config == replace(config, img_range=255.0, mlp_ratio=1.55)
        assert (loaded.spec.id, loaded.spec.task, loaded.spec.scale) == ("net-x2", "sr", 2)
        assert loaded.path == folder / WEIGHTS


def test_a_folder_is_inspected_and_converted(folder, tmp_path, config):
    found = inspect_checkpoint(folder)
    assert (found.spec.id, found.config.img_range, found.network) == ("net-x2", 255.0, "MambaIR")
    convert(folder, tmp_path / "one.safetensors")
    alone = load_checkpoint(tmp_path / "one.safetensors")
    assert alone.network.config == replace(config, img_range=255.0, mlp_ratio=1.55)


def test_a_folder_that_a_configuration_of_ours_was_written_to(tmp_path, config):
    Ours(config).save_pretrained(tmp_path / "net")
    assert "num_heads" not in json.loads((tmp_path / "net" / CONFIG).read_text())
    assert load_checkpoint(tmp_path / "net").network.config == config


def test_a_pickle_of_old_in_a_folder(folder, config):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    loaded = load_checkpoint(resolve(str(folder)))
    assert loaded.network.config == replace(config, img_range=255.0, mlp_ratio=1.55)


def test_weights_of_another_name_have_no_configuration_beside_them(folder, config):
    (folder / WEIGHTS).rename(folder / "x2.safetensors")
    (folder / CONFIG).write_text("no JSON")
    assert load_checkpoint(folder / "x2.safetensors").network.config == config


def test_a_folder_without_a_configuration(folder, config):
    (folder / CONFIG).unlink()
    assert load_checkpoint(folder).network.config == config


def test_a_scale_that_has_no_effect_is_no_contradiction(tmp_path):
    """The published class says 2 unless told otherwise, also where nothing is enlarged."""
    Theirs(upscale=1, upsampler="").save_pretrained(tmp_path / "net")
    restated(tmp_path / "net", upscale=2)
    assert load_checkpoint(tmp_path / "net").network.config.upscale == 1


DISAGREEING = {
    "scale": ({"upscale": 4}, "config.json beside it contradicts it: upscale 4 instead of 2"),
    "width": ({"embed_dim": 180}, "contradicts it: embed_dim 180 instead of 12"),
    "several": (
        {"depths": [6, 6], "d_state": 16},
        "contradicts it: d_state 16 instead of 4, depths (6, 6) instead of (1,)",
    ),
    "a type": ({"embed_dim": "twelve"}, "contradicts it: embed_dim 'twelve' instead of 12"),
    "nothing": ({"in_chans": None}, "contradicts it: in_chans None instead of 3"),
    "upsampler": ({"upsampler": ""}, "upsampler '' instead of 'pixelshuffledirect'"),
    "ratio": ({"mlp_ratio": 2.0}, "contradicts it: mlp_ratio 2.0 instead of 1.5"),
    "ratio of text": ({"mlp_ratio": "2"}, "config.json: mlp_ratio '2' is not a positive number"),
    "no white": ({"img_range": 0}, "config.json: img_range 0 is not a positive number up to"),
    "white of nothing": ({"img_range": float("nan")}, "config.json: img_range nan is not a"),
    "another network": (
        {"network": "MambaIRv2"},
        "config.json is of the network 'MambaIRv2', but the tensors are of MambaIR",
    ),
    "no name of a network": ({"network": ["a"]}, "config.json is of the network ['a'], but"),
}


@pytest.mark.parametrize("kind", DISAGREEING)
def test_a_configuration_that_disagrees_with_the_weights(folder, kind):
    changes, message = DISAGREEING[kind]
    restated(folder, **changes)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert caught.value.message.startswith(f"{folder / WEIGHTS}: ")
    assert message in caught.value.message
    assert str(folder / CONFIG) in caught.value.hint


UNREADABLE = {
    "no JSON": (b"{'upscale': 2}", "config.json is not JSON: "),
    "no text": (b"\xff\xfe\x00", "config.json is not JSON: "),
    "a list": (b"[1, 2]", "config.json is not a JSON object: [1, 2]"),
    "deep": (b"[" * 100_000, "config.json is not JSON: "),
    "large": (b" " * (2**20 + 1), "config.json is too large for a configuration"),
    "empty": (b"", "config.json is not JSON: "),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_configuration_that_cannot_be_read(folder, kind):
    content, message = UNREADABLE[kind]
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert caught.value.message.startswith(f"{folder / WEIGHTS}: {message}")
    assert caught.value.hint == f"correct or remove {folder / CONFIG}"


def test_metadata_and_configuration_must_agree_too(folder, config):
    stated = header.describe(replace(config, img_range=10.0), None)
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, stated)
    with pytest.raises(CheckpointError, match=r"it: img_range 255\.0 instead of 10\.0,"):
        load_checkpoint(folder)
    restated(folder, mlp_ratio=1.5, img_range=10)
    assert load_checkpoint(folder).network.config.img_range == 10


def test_a_folder_on_the_hub(hub: Hub, folder, config):
    hub.add("me/net-x2", files_in(folder))
    path = resolve("hf://me/net-x2")
    assert path == cache.converted_of("hf://me/net-x2")
    loaded = load_checkpoint(path)
    assert loaded.network.config == replace(config, img_range=255.0, mlp_ratio=1.55)
    assert (loaded.spec.id, loaded.spec.task) == ("net-x2", "sr")
    tensors = load_file(folder / WEIGHTS)
    assert all(torch.equal(v, tensors[key]) for key, v in loaded.network.state_dict().items())
    hub.requests.clear()
    assert resolve("hf://me/net-x2/") == path
    assert hub.requests == []


def test_a_folder_on_the_hub_that_stores_small_files_otherwise(hub: Hub, folder):
    hub.large_files = False
    hub.add("me/net-x2", files_in(folder))
    assert load_checkpoint(resolve("hf://me/net-x2")).network.config.img_range == 255.0


def test_a_revision_and_a_folder_in_a_repository(hub: Hub, folder):
    files = {f"nets/{name}": content for name, content in files_in(folder).items()}
    hub.add("me/all", files, revisions=("main", "v1"))
    loaded = load_checkpoint(resolve("hf://me/all@v1/nets/model.safetensors"))
    assert (loaded.spec.id, loaded.network.config.img_range) == ("nets", 255.0)
    with pytest.raises(CheckpointError, match=r"me/all has no model\.safetensors or pytorch_model"):
        resolve("hf://me/all")


def test_a_folder_on_the_hub_without_a_configuration(hub: Hub, folder, config):
    hub.add("me/net", {WEIGHTS: (folder / WEIGHTS).read_bytes()})
    assert load_checkpoint(resolve("hf://me/net")).network.config == config


def test_a_folder_on_the_hub_that_disagrees(hub: Hub, folder):
    restated(folder, embed_dim=60)
    hub.add("me/net", files_in(folder))
    with pytest.raises(CheckpointError, match=r"contradicts it: embed_dim 60 instead of 12"):
        resolve("hf://me/net")
    assert cache.pins() == []


def test_a_configuration_that_cannot_be_fetched_is_not_passed_over(hub: Hub, folder):
    hub.add("me/net", files_in(folder))
    hub.replies[f"/me/net/resolve/{hub.repositories['me/net'].commit}/{CONFIG}"] = (503, {}, b"")
    with pytest.raises(CheckpointError, match=r"the Hub answers 503 for config\.json from me/net"):
        resolve("hf://me/net")
    assert cache.pins() == []


def test_a_folder_that_another_program_downloaded_needs_no_hub(hub: Hub, folder, monkeypatch):
    hub.add("me/net", files_in(folder))
    for name in (WEIGHTS, CONFIG):
        hf_hub_download("me/net", name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_checkpoint(resolve("hf://me/net")).network.config.img_range == 255.0


NETWORKS = {
    "MambaIR": MambaIRConfig(upscale=2, embed_dim=12, d_state=4, depths=(1,), img_range=255.0),
    "MambaIRUNet": MambaIRUNetConfig(
        dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, d_state=2
    ),
    "MambaIRv2": MambaIRv2Config(
        upscale=2, embed_dim=12, d_state=3, depths=(1,), num_heads=(2,), window_size=4,
        inner_rank=5, num_tokens=7, img_range=255.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("hub")
def test_what_is_pushed_is_loaded(tmp_path, monkeypatch, name):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    source = tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    network = build_network(NETWORKS[name])
    source.write_bytes(save(network.state_dict(), header.describe(NETWORKS[name], None)))
    pushed = push(source, "me/new")
    assert (str(pushed.reference), pushed.kept_card) == ("hf://me/new", False)
    loaded = load_checkpoint(resolve("hf://me/new"))
    assert loaded.network.config == NETWORKS[name]
    assert loaded.spec.id == "mine"
    assert all(
        torch.equal(value, network.state_dict()[key])
        for key, value in loaded.network.state_dict().items()
    )


def test_what_is_pushed_is_loaded_by_the_mixin(hub: Hub, tmp_path, monkeypatch, config):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    source = tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    network = build_network(config)
    source.write_bytes(save(network.state_dict()))
    push(source, "me/new")
    said = json.loads(hub.repositories["me/new"].files[CONFIG])
    assert said == json.loads(json.dumps({"network": "MambaIR", **asdict(config)}))
    theirs = Theirs.from_pretrained("me/new")
    image = torch.rand(1, 3, 9, 11)
    assert theirs.config == config
    assert torch.equal(theirs(image), network.eval()(image))


def test_the_second_network_is_pushed_with_its_paper_and_loaded_by_the_mixin(
    hub: Hub, tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    config = NETWORKS["MambaIRv2"]
    torch.manual_seed(0)
    network = build_network(config)
    published = network.state_dict() | {"relative_position_index_SA": relative_positions(4)}
    source = tmp_path / "mine.safetensors"
    source.write_bytes(save(published, header.describe(config, None)))
    push(source, "me/new")
    assert "arxiv.org/abs/2411.15269" in hub.repositories["me/new"].files["README.md"].decode()
    theirs = TheirsV2.from_pretrained("me/new")
    image = torch.rand(1, 3, 9, 11)
    assert (theirs.config.window_size, theirs.config.img_range) == (4, 255.0)
    assert torch.equal(theirs(image), network.eval()(image))
