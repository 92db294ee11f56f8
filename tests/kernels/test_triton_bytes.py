"""What the kernels move, counted by Triton's interpreter, against what docs/gpu.md says of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("triton")

from triton.runtime.interpreter import InterpreterBuilder

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.scan import triton_gpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts where it interprets")
H, W, D, N, R = 2, 3, 64, 2, 1


@pytest.fixture
def moved(monkeypatch):
    """Counts the bfloat16 values that kernels load and store."""
    counts = Counter()

    def counting(kind, name):
        run = getattr(InterpreterBuilder, name)

        def counted(self, pointers, *arguments):
            if str(pointers.get_element_ty()) == "bf16":
                masks = [value.data for value in arguments if hasattr(value, "data")]
                mask = next((each for each in masks if each.dtype == np.bool_), None)
                counts[kind] += pointers.data.size if mask is None else int(mask.sum())
            return run(self, pointers, *arguments)

        monkeypatch.setattr(InterpreterBuilder, name, counted)

    counting("loaded", "create_masked_load")
    counting("stored", "create_masked_store")
    return counts


def test_each_direction_s_plane_is_stored_once_and_loaded_once(moved):
    u = torch.randn(1, H, W, D).bfloat16()
    projected = torch.randn(1, H, W, 4 * (R + 2 * N))
    parameters = [torch.randn(4, D, R), torch.randn(4, D), -torch.rand(4, D, N), torch.randn(4, D)]
    planes = triton_gpu.selective_scan_2d(u, projected, *parameters)
    assert moved["stored"] == 4 * u.numel()
    moved.clear()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ops_gpu.norm_gate(planes, u, nn.LayerNorm(D))
    assert moved["loaded"] == (4 + 1) * u.numel()
    assert moved["stored"] == u.numel()
