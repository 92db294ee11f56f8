"""The network and its configuration, read from a state dict's keys and shapes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from mambair_cli.errors import CheckpointError
from mambair_cli.networks.frame import UPSAMPLER_CHANNELS
from mambair_cli.networks.spec import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    NetworkConfig,
    Upsampler,
)

BLOCK_KEY = re.compile(
    r"layers\.(\d{1,9})\.residual_group\.(?:blocks|layers)\.(\d{1,9})\.", re.ASCII
)
PUBLISHED_RATIOS = (1.2, 1.5, 2.0)

# Part of a key that gives another network away.
OTHER_NETWORKS = (
    (".attn.qkv.weight", "SwinIR or HAT"),
    (".attn.temperature", "Restormer"),
    (".rdb1.conv1.weight", "ESRGAN (RRDBNet)"),
)

CHANGED = "the file is incomplete, or its network was changed"

SHALLOW = "conv_first.weight"
FIRST_BLOCK = "layers.0.residual_group.blocks.0"
STATES = "self_attention.A_logs"
INNER = "self_attention.in_proj.weight"

FIRST_LAYER = "layers.0.residual_group.layers.0"
QKV = "wqkv.weight"
BIASES = "win_mhsa.relative_position_bias_table"


def detect_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """Find the configuration that a state dict belongs to.

    The white level (`img_range`) leaves no trace in the shapes: it is 1.0, as in published weights.

    Args:
        tensors: State-dict key to tensor; only shapes are looked at.

    Returns:
        The configuration; building it gives a network whose keys and shapes are those of `tensors`,
        if they are complete.

    Raises:
        CheckpointError: It is another network; the message names it, or keys expected and found.
    """
    for part, name in OTHER_NETWORKS:
        if any(part in key for key in tensors):
            raise CheckpointError(
                f"these are weights of {name}, another network than MambaIR",
                "`mambair models list` names the models that can be used",
            )
    if any(key.startswith("encoder_level1.") for key in tensors):
        return _unet_config(tensors)
    if any(key.endswith(f".{QKV}") for key in tensors):
        return _v2_config(tensors)
    return _mambair_config(tensors)


def _mambair_config(tensors: Mapping[str, Tensor]) -> MambaIRConfig:
    embed, channels = _shape(tensors, SHALLOW, 4)[:2]
    upsampler, scale = _upsampling(tensors, channels)
    states = _shape(tensors, f"{FIRST_BLOCK}.{STATES}", 2)[1]
    inner = _shape(tensors, f"{FIRST_BLOCK}.{INNER}", 2)[0] // 2
    _refuse_other_block(tensors, light=upsampler == "pixelshuffledirect")
    return MambaIRConfig(
        upscale=scale,
        in_chans=channels,
        embed_dim=embed,
        d_state=states,
        depths=_depths(tensors),
        mlp_ratio=_ratio([(embed, inner)]),
        upsampler=upsampler,
        resi_connection=_connection(tensors),
    )


def _v2_config(tensors: Mapping[str, Tensor]) -> MambaIRv2Config:
    def of_first(key: str, axes: int) -> Sequence[int]:
        return _shape(tensors, f"{FIRST_LAYER}.{key}", axes)

    embed, channels = _shape(tensors, SHALLOW, 4)[:2]
    upsampler, scale = _upsampling(tensors, channels)
    num_tokens, inner_rank = of_first("assm.embeddingB.weight", 2)
    light = f"{FIRST_LAYER}.convffn1.sg.conv.weight" in tensors
    local = "convffn1.sg.conv" if light else "convffn1.dwconv.depthwise_conv.0"
    depths = _depths(tensors)
    return MambaIRv2Config(
        upscale=scale,
        in_chans=channels,
        embed_dim=embed,
        d_state=of_first("embeddingA.weight", 2)[1],
        depths=depths,
        num_heads=tuple(
            _shape(tensors, f"layers.{group}.residual_group.layers.0.{BIASES}", 2)[1]
            for group in range(len(depths))
        ),
        window_size=_window(of_first(BIASES, 2)[0]),
        inner_rank=inner_rank,
        num_tokens=num_tokens,
        convffn_kernel_size=of_first(f"{local}.weight", 4)[-1],
        mlp_ratio=_ratio([(embed, of_first("assm.in_proj.0.weight", 4)[0])]),
        upsampler=upsampler,
        resi_connection=_connection(tensors),
        light=light,
    )


def _window(positions: int) -> int:
    """Find the side of a window from the number of relative positions in it."""
    side = (math.isqrt(positions) + 1) // 2
    if (2 * side - 1) ** 2 != positions:
        raise CheckpointError(f"{BIASES} has {positions} rows: they fit no window", CHANGED)
    return side


def _connection(tensors: Mapping[str, Tensor]) -> Literal["1conv", "3conv"]:
    return "3conv" if "conv_after_body.0.weight" in tensors else "1conv"


def _unet_config(tensors: Mapping[str, Tensor]) -> MambaIRUNetConfig:
    dim, channels = _shape(tensors, "patch_embed.proj.weight", 4)[:2]
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    widths = [
        (dim * 2**i, _shape(tensors, f"{level}.0.{INNER}", 2)[0] // 2)
        for i, level in enumerate(levels)
    ]
    one, two, three, four = (_count(tensors, level) for level in levels)
    return MambaIRUNetConfig(
        inp_channels=channels,
        out_channels=_shape(tensors, "output.weight", 4)[0],
        dim=dim,
        num_blocks=(one, two, three, four),
        num_refinement_blocks=_count(tensors, "refinement"),
        mlp_ratio=_ratio(widths),
        bias="output.bias" in tensors,
        d_state=_shape(tensors, f"{levels[0]}.0.{STATES}", 2)[1],
    )


def _shape(tensors: Mapping[str, Tensor], key: str, axes: int) -> Sequence[int]:
    if key not in tensors:
        found = ", ".join(list(tensors)[:4])
        raise CheckpointError(
            f"not a MambaIR network: expected keys such as {SHALLOW}, {FIRST_BLOCK}.{STATES} or "
            f"encoder_level1.0.{STATES}; {key} is missing; found {len(tensors)} keys: {found}",
            "`mambair models list` names the models that can be used",
        )
    shape = tensors[key].shape
    if len(shape) != axes or 0 in shape:
        raise CheckpointError(f"{key} has the shape {tuple(shape)}, expected {axes} axes", CHANGED)
    return shape


def _upsampling(tensors: Mapping[str, Tensor], channels: int) -> tuple[Upsampler, int]:
    if "conv_up1.weight" in tensors:
        return "nearest+conv", 4
    if "conv_before_upsample.0.weight" in tensors:
        steps = [key for key in tensors if re.fullmatch(r"upsample\.\d+\.weight", key)]
        outputs = [_shape(tensors, key, 4)[0] for key in steps]
        return "pixelshuffle", 3 if outputs == [9 * UPSAMPLER_CHANNELS] else 2 ** len(steps)
    if not any(key.startswith("upsample.") for key in tensors):
        return "", 1
    rows = _shape(tensors, "upsample.0.weight", 4)[0]
    scale = math.isqrt(rows // channels)
    if rows != channels * scale**2:
        raise CheckpointError(
            f"upsample.0.weight has {rows} outputs: no whole scale for {channels} channels", CHANGED
        )
    return "pixelshuffledirect", scale


def _refuse_other_block(tensors: Mapping[str, Tensor], *, light: bool) -> None:
    full_gate, light_gate = (
        f"{FIRST_BLOCK}.conv_blk.cab.{index}.attention.1.weight" for index in (3, 5)
    )
    if light and light_gate not in tensors:
        raise CheckpointError(
            f"these are weights of the first lightweight MambaIR, with another block: {light_gate} "
            "is missing",
            "use the lightweight files published since 2024-10-15",
        )
    if not light:
        _shape(tensors, full_gate, 4)


def _depths(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    # Counted, not taken from the largest number: a made-up key may hold any number.
    blocks = {(int(m[1]), int(m[2])) for key in tensors if (m := BLOCK_KEY.match(key))}
    counts = Counter(group for group, _ in blocks)
    return tuple(counts[group] for group in sorted(counts))


def _count(tensors: Mapping[str, Tensor], level: str) -> int:
    return len({key.split(".")[1] for key in tensors if key.startswith(f"{level}.")})


def _ratio(widths: Sequence[tuple[int, int]]) -> float:
    """Find a ratio that gives every inner width: a published one, else one with few decimals."""
    width, inner = widths[-1]
    if not all(wanted for _, wanted in widths):
        raise CheckpointError("a block of its network has no inner channels", CHANGED)
    rounded: list[float] = [
        math.ceil(inner / width * 10**digits) / 10**digits for digits in range(1, 10)
    ]
    for ratio in (*PUBLISHED_RATIOS, *rounded):
        if all(int(ratio * outer) == wanted for outer, wanted in widths):
            return ratio
    raise CheckpointError(
        f"no single mlp_ratio gives the inner widths {[inner for _, inner in widths]} "
        f"for {[outer for outer, _ in widths]} channels",
        CHANGED,
    )
