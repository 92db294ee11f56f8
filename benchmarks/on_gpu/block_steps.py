"""The steps of one block of a network that have kernels of ours, to be recorded without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.scan import triton_gpu
from mambair_cli.networks.attentive import AttentiveLayer
from mambair_cli.networks.layers import ResidualStateSpaceBlock, convolutions
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config
from on_gpu.cases import Case

Step = tuple[str, Callable[[], object]]
Image = tuple[int, int, int]


def steps_of(case: Case, dtype: torch.dtype) -> Iterator[Step]:
    """List the steps of one block at the size of its input.

    Args:
        case: A network whose blocks are all of one size.
        dtype: Of what products and convolutions give.

    Yields:
        Each step's name, and what runs it on the meta device, on which this is to be called.

    Raises:
        TypeError: The blocks are of several sizes.
    """
    config = case.config
    if isinstance(config, MambaIRConfig):
        yield from _steps_of_a_block(config, (1, case.height, case.width), dtype)
    elif isinstance(config, MambaIRv2Config):
        window = config.window_size
        height, width = (-(-side // window) * window for side in (case.height, case.width))
        yield from _steps_of_a_layer(config, (1, height, width), dtype)
    else:
        raise TypeError(f"{case.name} has blocks of several sizes")


def _steps_of_a_block(config: MambaIRConfig, image: Image, dtype: torch.dtype) -> Iterator[Step]:
    """MambaIR's; what is added up over blocks stays float32."""
    light = config.upsampler == "pixelshuffledirect"
    block = ResidualStateSpaceBlock(
        config.embed_dim, config.d_state, config.mlp_ratio, light=light
    ).requires_grad_(False)
    scan, c = block.self_attention, config.embed_dim
    d = scan.d_inner
    features = partial(_features, image, dtype)
    stream = _features(image, torch.float32, c)
    yield "norm", lambda: ops_gpu.norm(stream, block.ln_1)
    yield "depthwise silu", lambda: ops_gpu.depthwise(features(d), scan.conv2d, "silu")
    if light:
        _, local, _, context = convolutions(block.conv_blk.cab)
        yield "depthwise gelu", lambda: ops_gpu.depthwise(features(c // 2), local, "gelu")
        yield "depthwise none", lambda: ops_gpu.depthwise(features(c), context, "none")
    yield "scan", lambda: _scan(scan, 4, features(d))
    planes = torch.empty(4, *image, d, dtype=dtype)
    yield "norm_gate", lambda: ops_gpu.norm_gate(planes, features(d), scan.out_norm)
    yield (
        "residual_norm",
        lambda: ops_gpu.residual_norm(stream, features(c), block.skip_scale, block.ln_2),
    )
    squeeze, expand = convolutions(block.conv_blk.cab[-1].attention)
    yield "channel_gate", lambda: ops_gpu.channel_gate(features(c), squeeze, expand)
    gate = torch.empty(1, c, dtype=torch.float32)
    yield (
        "gated_residual",
        lambda: ops_gpu.gated_residual(stream, features(c), block.skip_scale2, gate),
    )


def _steps_of_a_layer(config: MambaIRv2Config, image: Image, dtype: torch.dtype) -> Iterator[Step]:
    """MambaIRv2's; attention, products and sorting are PyTorch's."""
    layer = AttentiveLayer(config, config.num_heads[0], shift=0).requires_grad_(False)
    module, feed_forward = layer.assm, layer.convffn1
    features = partial(_features, image, dtype)
    stream = _features(image, torch.float32, config.embed_dim)
    yield "norm", lambda: ops_gpu.norm(stream, layer.norm1)
    hidden, positions = config.hidden, cast(nn.Conv2d, module.CPE[0])
    yield "depthwise 3x3", lambda: ops_gpu.depthwise(features(hidden), positions, "none")
    pixels = (1, 1, image[1] * image[2])
    sequence = _features(pixels, dtype, hidden)
    yield "scan", lambda: _scan(module.selectiveScan, 1, sequence)
    yield "norm of the scan", lambda: ops_gpu.norm(sequence, module.out_norm)
    if feed_forward.light:
        gate = feed_forward.sg
        half = features(hidden).chunk(2, dim=-1)[1]
        yield "norm of the gate", lambda: ops_gpu.norm(half, gate.norm)
        normed = features(hidden // 2)
        yield "depthwise 5x5", lambda: ops_gpu.depthwise(normed, gate.conv, "none")
    else:
        convolution = cast(nn.Conv2d, feed_forward.dwconv.depthwise_conv[0])
        yield "depthwise 5x5", lambda: ops_gpu.depthwise(features(hidden), convolution, "gelu")


def _features(image: Image, dtype: torch.dtype, channels: int) -> Tensor:
    return torch.empty(*image, channels, dtype=dtype)


def _scan(scan: SelectiveScan, directions: int, u: Tensor) -> Tensor:
    k, n, r = directions, scan.d_state, scan.rank
    projected = torch.empty(*u.shape[:-1], k * (r + 2 * n), dtype=torch.float32)
    A, D = torch.empty(k, u.shape[-1], n), torch.empty(k, u.shape[-1])
    return triton_gpu.selective_scan_2d(
        u, projected, scan.dt_projs_weight, scan.dt_projs_bias, A, D
    )
