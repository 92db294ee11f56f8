"""Compiling ahead of the first image."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.networks import ops_cpu, ops_gpu, prepare_kernels


@pytest.mark.parametrize("scan", ["numba", "reference"])
@pytest.mark.parametrize("training", [False, True])
def test_preparing_says_how_long_it_took(scan, training):
    assert prepare_kernels(scan, training=training) > 0


@pytest.mark.parametrize("training", [False, True])
def test_preparing_runs_on_the_device(training, kernel_device):
    assert prepare_kernels("triton", kernel_device, training=training) > 0


@pytest.mark.parametrize(("scan", "fused"), [("numba", ops_cpu.FUSED), ("triton", ops_gpu.FUSED)])
def test_preparing_runs_every_fused_step(scan, fused, monkeypatch, kernel_device):
    used = set()
    for name in fused.__dataclass_fields__:
        step = getattr(fused, name)

        def spy(*arguments, name=name, step=step):
            used.add(name)
            return step(*arguments)

        monkeypatch.setitem(fused.__dict__, name, spy)
    prepare_kernels(scan, kernel_device if scan == "triton" else torch.device("cpu"))
    assert used == set(fused.__dataclass_fields__)
