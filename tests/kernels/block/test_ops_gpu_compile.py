"""What the steps launch compiles for GPUs that are not here, without spills, with wide loads."""

from __future__ import annotations

import pytest
import torch
from compile_kernels import described
from torch import nn

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.block.ops_gpu import FUSED

TYPES = (torch.float32, torch.bfloat16, torch.float16)
CLASSIC, LIGHT = (180, 360), (60, 72)  # channels of the published networks, and inner ones


def run_block(channels, inner, dtype):
    """Runs every step at the sizes of a network, on tensors without memory."""
    hidden, parts = channels // 30, 4
    with torch.device("meta"):
        stream = torch.empty(1, 180, 320, channels)
        branch, wide = stream.to(dtype), torch.empty(1, 180, 320, inner, dtype=dtype)
        planes = torch.empty(parts, 1, 180, 320, inner, dtype=dtype)
        norm, wide_norm, scale = nn.LayerNorm(channels), nn.LayerNorm(inner), torch.empty(channels)
        conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        context = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, groups=channels)
        squeeze = nn.Conv2d(channels, hidden, 1, dtype=dtype)
        expand = nn.Conv2d(hidden, channels, 1, dtype=dtype)
    FUSED.norm(stream, norm)
    FUSED.depthwise(torch.cat([wide, wide], -1).chunk(2, -1)[0], conv, "silu")
    FUSED.norm_gate(planes, wide, wide_norm)
    FUSED.residual_norm(stream, branch, scale, norm)
    FUSED.depthwise(branch, context, "gelu")
    FUSED.depthwise(branch, context, "none")
    FUSED.gated_residual(stream, branch, scale, FUSED.channel_gate(branch, squeeze, expand))


def run_layer(channels, hidden, dtype):
    """Runs the steps of a layer of MambaIRv2 that the first version has not."""
    with torch.device("meta"):
        wide = torch.empty(1, 192, 320, hidden, dtype=dtype)
        local = nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden)
        classes = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        scanned, norm = torch.empty(1, 192, 320, hidden), nn.LayerNorm(hidden)
        stream, first_norm = torch.empty(1, 192, 320, channels), nn.LayerNorm(channels)
    FUSED.depthwise(wide, local, "gelu")
    FUSED.depthwise(torch.cat([wide, wide], -1).chunk(2, -1)[1], local, "none")
    FUSED.depthwise(wide, classes, "none")
    FUSED.norm(scanned, norm)
    FUSED.norm(stream, first_norm)


@pytest.fixture
def launched(monkeypatch):
    """Says what a block launches."""

    def record(channels, inner, dtype, run=run_block):
        cases = []

        def launch(kernel, _grid, _device, *arguments, **constants):
            cases.append(described(kernel, arguments, constants))

        monkeypatch.setattr(ops_gpu, "launch", launch)
        monkeypatch.setattr(ops_gpu, "_matrix_dtype", lambda _: dtype)
        run(channels, inner, dtype)
        return cases

    return record


def assert_lean(case, result):
    """Nothing spills; what a step streams is loaded 8 bytes of half precision at a time, or 16."""
    assert result["spilled"] == 0, case
    if case["kernel"] != "channel_gate":
        assert {"LDG 64", "LDG 128"} >= {
            access for access in result["accesses"] if access.startswith("LDG")
        }, case


@pytest.mark.slow
def test_every_step_compiles(launched, compiled_for):
    cases = launched(*CLASSIC, torch.bfloat16)
    one_of_each = list({case["kernel"]: case for case in cases}.values())
    assert len(one_of_each) == 6
    for case, result in zip(one_of_each, compiled_for("sm_90", one_of_each), strict=True):
        assert_lean(case, result)
        assert result["registers"] <= 128, case


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("channels", [CLASSIC, LIGHT], ids=str)
@pytest.mark.parametrize("target", ["sm_75", "sm_90"])
def test_every_launch_compiles_for_cuda(target, channels, dtype, launched, compiled_for):
    cases = launched(*channels, dtype)
    for case, result in zip(cases, compiled_for(target, cases), strict=True):
        assert_lean(case, result)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_launch_compiles_for_rocm(dtype, launched, compiled_for):
    cases = launched(*CLASSIC, dtype)
    assert len(compiled_for("gfx942", cases)) == len(cases)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("channels", [(48, 48), (174, 348)], ids=["light", "base"])
def test_every_launch_of_the_second_version_compiles(target, channels, launched, compiled_for):
    cases = launched(*channels, torch.bfloat16, run_layer)
    for case, result in zip(cases, compiled_for(target, cases), strict=True):
        assert result["spilled"] == 0, case
        assert result["registers"] <= 128, case
