from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.load import (
    identify,
    load_checkpoint,
    open_checkpoint,
    require_scale,
)
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.errors import CheckpointError, UsageError
from mambair_cli.kernels.block.attention import relative_positions
from mambair_cli.networks import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config, build_network
from mambair_cli.networks.spec import ModelSpec


def stated(config, spec=None, network="MambaIR", **changes):
    metadata = {"mambair.config": json.dumps({"network": network, **asdict(config), **changes})}
    return metadata if spec is None else metadata | {"mambair.spec": json.dumps(spec)}


def test_a_pickle_is_loaded_ready_to_run(saved, state, config):
    path = saved({"params": state}, "my_weights.pth")
    loaded = load_checkpoint(path)
    assert loaded.network.config == config
    assert loaded.spec == ModelSpec("my_weights", "sr", 2, 3)
    assert loaded.path == path
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert all(torch.equal(v, state[k]) for k, v in loaded.network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_become_float32(saved, state, dtype):
    stored = {key: value.to(dtype) for key, value in state.items()}
    loaded = load_checkpoint(saved(stored)).network.state_dict()
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert all(torch.equal(value, stored[key].float()) for key, value in loaded.items())


def broken_keys(state):
    kept = {key: value for key, value in state.items() if key not in ("norm.bias", "norm.weight")}
    return {**kept, "extra.weight": torch.zeros(1)}


BROKEN = {
    "keys": (
        broken_keys,
        (
            "keys do not fit MambaIR: missing (2): norm.weight, norm.bias; "
            "unexpected (1): extra.weight"
        ),
        "the file is incomplete, or its network was changed",
    ),
    "many keys": (
        lambda s: (
            {key: value for key, value in s.items() if not key.startswith("norm")}
            | {f"extra.{i}": torch.zeros(1) for i in range(5)}
        ),
        (
            "keys do not fit MambaIR: missing (2): norm.weight, norm.bias; "
            "unexpected (5): extra.0, extra.1, extra.2 and 2 more"
        ),
        "the file is incomplete, or its network was changed",
    ),
    "shape": (
        lambda s: {**s, "norm.bias": torch.zeros(11)},
        "wrong shapes (1): norm.bias is (11,), expected (12,)",
        "its network was changed",
    ),
    "type": (
        lambda s: {**s, "norm.bias": torch.zeros(12, dtype=torch.int64)},
        "norm.bias holds int64 values, expected float32, float16, bfloat16 or float64",
        "quantised weights are not run: get those that they were made from",
    ),
    "nan": (
        lambda s: {**s, "norm.bias": torch.full((12,), float("nan"))},
        "norm.bias holds NaN or infinity",
        "its training diverged, or the file is damaged",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_tensors_that_do_not_fit(saved, state, kind):
    change, message, hint = BROKEN[kind]
    path = saved(change(state))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert (caught.value.message, caught.value.hint) == (f"{path}: {message}", hint)


def test_another_network_is_refused_with_the_file_named(saved):
    path = saved({"features.0.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.message.startswith(f"{path}: not a MambaIR network: expected keys")


def test_metadata_adds_what_shapes_do_not_tell(tmp_path, state, config):
    path = tmp_path / "weights.safetensors"
    spec = ModelSpec("mine", "realsr", 2, 3)
    # 1.55 gives the same inner width as 1.5.
    save_file(state, path, stated(config, asdict(spec), img_range=255.0, mlp_ratio=1.55))
    loaded = load_checkpoint(path)
    assert loaded.network.config == replace(config, img_range=255.0, mlp_ratio=1.55)
    assert loaded.spec == spec


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"upscale": 4}, "its metadata contradicts its tensors: upscale 4 instead of 2"),
        ({"mlp_ratio": 99}, "its metadata contradicts its tensors: mlp_ratio 99 instead of 1.5"),
        ({"depths": [1, "a"]}, r"contradicts its tensors: depths \(1, 'a'\) instead of \(1,\)"),
        ({"network": "SwinIR"}, "metadata mambair.config: unknown network 'SwinIR'"),
        ({"network": []}, r"metadata mambair.config: unknown network \[\]"),
        ({"network": "MambaIRUNet"}, "metadata mambair.config: .*unexpected keyword argument"),
        ({"colour": "red"}, "metadata mambair.config: .*unexpected keyword argument 'colour'"),
        ({"img_range": 0}, "metadata mambair.config: 0 is not a positive number"),
        ({"mlp_ratio": float("nan")}, "metadata mambair.config: nan is not a positive number"),
        ({"img_range": "white"}, "metadata mambair.config: 'white' is not a positive number"),
    ],
)
def test_metadata_that_cannot_be(tmp_path, state, config, metadata, message):
    path = tmp_path / "weights.safetensors"
    save_file(state, path, stated(config, **metadata))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


GOOD_SPEC = asdict(ModelSpec("mine", "sr", 2, 3))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("not a record", "metadata mambair.spec is not a JSON object: 'not a record'"),
        ({**GOOD_SPEC, "task": "colourise"}, "metadata mambair.spec: unknown task 'colourise'"),
        ({**GOOD_SPEC, "sigma": "x"}, "metadata mambair.spec: 'x' is not a whole number"),
        (
            {**GOOD_SPEC, "after": "sr"},
            "metadata mambair.spec: 'sr' is not what weights can follow",
        ),
        ({"id": "mine"}, "metadata mambair.spec: .*missing 3 required positional arguments"),
        (
            {**GOOD_SPEC, "scale": 4},
            "its metadata says scale 4 and 3 channels, but its network has scale 2 and 3 channels",
        ),
    ],
)
def test_specification_that_cannot_be(tmp_path, state, config, spec, message):
    path = tmp_path / "weights.safetensors"
    save_file(state, path, stated(config, spec))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_metadata_that_is_no_json(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file(state, path, {"mambair.config": "{"})
    with pytest.raises(CheckpointError, match=r"metadata mambair\.config is not JSON"):
        load_checkpoint(path)


def test_published_files_are_recognised_by_name():
    for entry in catalogue.entries():
        for name in (entry.id, *entry.files):
            assert identify(Path(f"{name}.safetensors").with_suffix(".pth"), entry.config) in (
                entry.spec,
            )


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("mambair_classic_SR_x2_v2", "mambair-classic-sr-x2"),
        ("Gaussian-color-50", "mambair-base-denoise-s50"),
        ("jpeg_quality_q30", "mambair-base-dejpeg-q30"),
        ("real_denoising", "mambair-unet-denoise-real"),
    ],
)
def test_renamed_files_are_recognised_by_pattern(name, model_id):
    entry = catalogue.find(model_id)
    assert identify(Path(name), entry.config) == entry.spec


@pytest.mark.parametrize(
    ("config", "task"),
    [
        (MambaIRConfig(upscale=3), "sr"),
        (MambaIRUNetConfig(), "denoise-real"),
        (MambaIRConfig(upscale=1, in_chans=1, upsampler=""), "dejpeg"),
        (MambaIRConfig(upscale=1, upsampler=""), "denoise"),
    ],
)
def test_unknown_files_get_the_usual_task(config, task):
    expected = ModelSpec("my file", task, config.scale, config.channels)
    assert identify(Path("folder/my file.pth"), config) == expected


def test_the_tensors_of_a_file_become_the_parameters_without_a_copy(saved, state):
    raw, network, _ = open_checkpoint(saved(state))
    for key, parameter in network.state_dict().items():
        assert parameter.data_ptr() == raw.tensors[key].data_ptr(), key
    assert {buffer.device.type for buffer in network.buffers()} <= {"cpu"}


def test_tensors_of_fewer_bits_become_float32(saved, state):
    path = saved({key: value.bfloat16() for key, value in state.items()})
    loaded = load_checkpoint(path)
    assert {value.dtype for value in loaded.network.state_dict().values()} == {torch.float32}


def test_a_published_name_on_another_network_is_no_published_model(config):
    spec = identify(Path("MambaIR_lightSRx2.pth"), config)
    assert spec.id == "MambaIR_lightSRx2"


def test_scale_of_the_weights_and_of_the_request():
    spec = ModelSpec("mambair-light-sr-x2", "sr", 2, 3)
    require_scale(spec, 2)
    with pytest.raises(UsageError) as caught:
        require_scale(spec, 4)
    assert caught.value.message == (
        "mambair-light-sr-x2 enlarges 2 times, but scale 4 was asked for"
    )
    assert caught.value.hint == "use --scale 2, or weights for scale 4"


BUNDLED = [entry for entry in catalogue.entries() if entry.bundled]


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.id)
def test_bundled_weights_are_what_the_catalogue_says(entry):
    path = resolve(entry.id)
    loaded = load_checkpoint(path)
    assert loaded.network.config == entry.config
    assert loaded.spec == entry.spec
    assert sum(parameter.numel() for parameter in loaded.network.parameters()) == entry.parameters
    assert loaded.sha256 == entry.sha256
    assert path.stat().st_size <= 1_500_000


SMALL = {"embed_dim": 12, "d_state": 2, "depths": (1,)}
SMALL_UNET = {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1, "d_state": 2}


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (MambaIRConfig(upscale=2, in_chans=4, **SMALL), "takes 4 channels"),
        (MambaIRConfig(upscale=1, in_chans=31, upsampler="", **SMALL), "takes 31 channels"),
        (
            MambaIRUNetConfig(inp_channels=6, out_channels=3, **SMALL_UNET),
            "takes 6 channels and gives 3",
        ),
    ],
)
def test_channels_that_no_image_has_are_refused(saved, config, what):
    path = saved(build_network(config).state_dict())
    with pytest.raises(UsageError) as caught:
        load_checkpoint(path)
    assert caught.value.message == (
        f"{path}: its network {what}; images have 1 (gray) or 3 (colour)"
    )


def test_what_is_left_over_is_no_missing_key(saved, state):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved({**state, "head.weight": torch.zeros(1)}))
    assert caught.value.hint.startswith("nothing is missing: ")


def second_version(**changes):
    config = MambaIRv2Config(
        upscale=2, embed_dim=12, depths=(2,), num_heads=(2,), window_size=4, num_tokens=7, **changes
    )
    return config, build_network(config).state_dict()


def test_the_second_version_makes_what_its_files_hold_beside_the_parameters(saved):
    config, state = second_version()
    published = state | {"relative_position_index_SA": relative_positions(4)}
    for content in (state, published):
        loaded = load_checkpoint(saved(content, "own.pth"))
        assert loaded.network.config == config
        assert (loaded.spec.task, loaded.spec.scale) == ("sr", 2)
        assert loaded.notes == ()
    masked = published | {"layers.0.residual_group.attn_mask": torch.zeros(4, 16, 16)}
    assert load_checkpoint(saved(masked, "own.pth")).notes == (
        "left out, as they are not the network's: layers.0.residual_group.attn_mask",
    )


def test_other_numbers_of_positions_are_refused(saved):
    _, state = second_version()
    other = state | {"relative_position_index_SA": relative_positions(4).T.contiguous()}
    with pytest.raises(CheckpointError, match="numbers the positions in a window otherwise"):
        load_checkpoint(saved(other))


def test_a_bias_table_that_fits_no_window_is_refused(saved):
    _, state = second_version()
    key = "layers.0.residual_group.layers.0.win_mhsa.relative_position_bias_table"
    with pytest.raises(CheckpointError, match="has 50 rows: they fit no window"):
        load_checkpoint(saved(state | {key: torch.zeros(50, 2)}))
