"""Compiling ahead of the first image."""

from __future__ import annotations

import pytest
import torch

from mambair_cli.kernels.block import ops_cpu
from mambair_cli.restoration.device.scan_backend import prepare_kernels


@pytest.mark.parametrize("scan", ["numba", "reference"])
@pytest.mark.parametrize("training", [False, True])
def test_preparing_says_how_long_it_took(scan, training):
    assert prepare_kernels(scan, training=training) > 0


def test_preparing_runs_every_fused_step(monkeypatch):
    fused, used = ops_cpu.FUSED, set()
    for name in fused.__dataclass_fields__:
        step = getattr(fused, name)

        def spy(*arguments, name=name, step=step):
            used.add(name)
            return step(*arguments)

        monkeypatch.setitem(fused.__dict__, name, spy)
    prepare_kernels("numba")
    # MambaIRv2 alone sorts and attends; kernels of its own wait for their first use.
    assert used == set(fused.__dataclass_fields__) - {"attend", "dense", "mixed", "sort_by_class"}


def test_kernels_are_prepared_for_the_precision_that_will_be_used(monkeypatch):
    stored = []
    real = ops_cpu.launch

    def spy(kernel, tasks, *arguments):
        stored.extend(each.dtype for each in arguments if isinstance(each, torch.Tensor))
        real(kernel, tasks, *arguments)

    monkeypatch.setattr(ops_cpu, "launch", spy)
    prepare_kernels("numba")
    assert set(stored) == {torch.float32, torch.int64}
    prepare_kernels("numba", precision="bf16")
    assert torch.bfloat16 in stored
