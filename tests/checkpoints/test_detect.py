from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_networks import FULL_SIZE, config_of

from mambair_cli.checkpoints.detect import detect_config
from mambair_cli.errors import CheckpointError
from mambair_cli.networks import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    build_network,
)


def shapes_of(config):
    with torch.device("meta"):
        return build_network(config).state_dict()


def published(name):
    entry = FULL_SIZE[name]
    config = config_of(entry)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in entry["tensors"].items()}
    return config, tensors, entry["parameters"]


@pytest.mark.parametrize("name", FULL_SIZE)
def test_published_networks_are_detected_and_load_strictly(name):
    config, tensors, parameters = published(name)
    assert detect_config(tensors) == config
    with torch.device("meta"):
        network = build_network(config)
    tensors.pop("relative_position_index_SA", None)
    network.load_state_dict(tensors, strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


VARIETIES = {
    "3conv": MambaIRConfig(
        upscale=2, embed_dim=12, depths=(1,), upsampler="pixelshuffle", resi_connection="3conv"
    ),
    "x8": MambaIRConfig(upscale=8, embed_dim=12, depths=(1, 2), upsampler="pixelshuffle"),
    "x1": MambaIRConfig(upscale=1, embed_dim=12, depths=(1,), upsampler="pixelshuffle"),
    "gray": MambaIRConfig(upscale=3, in_chans=1, embed_dim=12, depths=(2, 1)),
    "rectangular": MambaIRConfig(upscale=1, embed_dim=20, depths=(3, 1, 2), upsampler=""),
    "other ratio": MambaIRConfig(upscale=2, embed_dim=40, depths=(1,), mlp_ratio=1.7),
    "many groups": MambaIRConfig(upscale=2, embed_dim=8, depths=(1,) * 11),
    "unet": MambaIRUNetConfig(dim=6, num_blocks=(1, 2, 1, 1), num_refinement_blocks=2, d_state=3),
    "unet bias": MambaIRUNetConfig(
        inp_channels=1,
        out_channels=1,
        dim=4,
        num_blocks=(1, 1, 1, 1),
        num_refinement_blocks=1,
        mlp_ratio=2.0,
        bias=True,
    ),
    "second version": MambaIRv2Config(
        upscale=3,
        embed_dim=12,
        depths=(2, 1),
        num_heads=(2, 3),
        window_size=4,
        inner_rank=5,
        num_tokens=7,
        convffn_kernel_size=3,
        mlp_ratio=1.5,
        d_state=3,
    ),
    "second version, gray": MambaIRv2Config(
        upscale=1,
        in_chans=1,
        embed_dim=12,
        depths=(1,),
        num_heads=(1,),
        window_size=8,
        upsampler="",
        light=False,
    ),
    "second version, nearest": MambaIRv2Config(
        embed_dim=12,
        depths=(1,),
        num_heads=(2,),
        upsampler="nearest+conv",
        light=False,
        resi_connection="3conv",
    ),
}


@pytest.mark.parametrize("variety", VARIETIES)
def test_configuration_round_trip(variety):
    config = VARIETIES[variety]
    assert detect_config(shapes_of(config)) == config


@settings(max_examples=30, deadline=None)
@given(
    embed=st.integers(3, 70),
    ratio=st.floats(1.0, 4.0, allow_nan=False).map(lambda value: round(value, 3)),
)
def test_any_ratio_is_detected_as_one_of_the_same_width(embed, ratio):
    config = MambaIRConfig(upscale=1, embed_dim=embed, d_state=1, depths=(1,), mlp_ratio=ratio)
    detected = detect_config(shapes_of(config))
    assert int(embed * detected.mlp_ratio) == int(embed * ratio)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("layers.0.residual_group.blocks.0.attn.qkv.weight", "SwinIR or HAT"),
        ("encoder_level1.0.attn.temperature", "Restormer"),
        ("body.0.rdb1.conv1.weight", "ESRGAN (RRDBNet)"),
    ],
)
def test_other_networks_are_refused_by_name(key, name):
    tensors = {"conv_first.weight": torch.zeros(4, 3, 3, 3), key: torch.zeros(2)}
    with pytest.raises(CheckpointError) as caught:
        detect_config(tensors)
    assert caught.value.message == (f"these are weights of {name}, another network than MambaIR")


def test_first_lightweight_files_are_refused_by_name():
    full = MambaIRConfig(upscale=2, embed_dim=60, d_state=16, depths=(1,), upsampler="")
    tensors = shapes_of(full) | {"upsample.0.weight": torch.empty(12, 60, 3, 3, device="meta")}
    with pytest.raises(CheckpointError) as caught:
        detect_config(tensors)
    assert "the first lightweight MambaIR, with another block" in caught.value.message
    assert caught.value.hint == "use the lightweight files published since 2024-10-15"


def test_unknown_network_names_keys_expected_and_found():
    with pytest.raises(CheckpointError) as caught:
        detect_config({f"features.{i}.weight": torch.zeros(2) for i in range(9)})
    assert caught.value.message == (
        "not a MambaIR network: expected keys such as conv_first.weight, "
        "layers.0.residual_group.blocks.0.self_attention.A_logs or "
        "encoder_level1.0.self_attention.A_logs; conv_first.weight is missing; "
        "found 9 keys: features.0.weight, features.1.weight, features.2.weight, features.3.weight"
    )


@pytest.mark.parametrize(
    "config", [VARIETIES[name] for name in ("gray", "3conv", "unet", "second version")]
)
def test_no_missing_or_misshapen_key_breaks_detection(config):
    tensors = shapes_of(config)
    for key in tensors:
        for broken in (None, torch.empty(0), torch.empty(()), torch.empty(2, 3, 5, 7, 1)):
            changed = {k: v for k, v in tensors.items() if k != key}
            if broken is not None:
                changed[key] = broken
            try:
                detect_config(changed)
            except CheckpointError as error:
                assert error.message  # noqa: PT017


def test_outputs_that_fit_no_scale():
    tensors = shapes_of(MambaIRConfig(upscale=2, embed_dim=12, depths=(1,)))
    tensors["upsample.0.weight"] = torch.empty(13, 12, 3, 3)
    with pytest.raises(
        CheckpointError, match=r"upsample\.0\.weight has 13 outputs: no whole scale"
    ):
        detect_config(tensors)


@pytest.mark.parametrize("variety", ["gray", "unet"])
def test_a_block_without_inner_channels_is_refused(variety):
    """Building it fails in PyTorch, with a convolution of no groups."""
    tensors = shapes_of(VARIETIES[variety])
    for key, tensor in tensors.items():
        if key.endswith("self_attention.in_proj.weight"):
            tensors[key] = torch.empty(1, tensor.shape[1], device="meta")
    with pytest.raises(CheckpointError, match="a block of its network has no inner channels"):
        detect_config(tensors)
