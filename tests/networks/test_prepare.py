"""Compiling ahead of the first image."""

from __future__ import annotations

import pytest

from mambair_cli.networks import prepare_kernels
from mambair_cli.networks.ops_cpu import FUSED


@pytest.mark.parametrize("scan", ["numba", "reference"])
@pytest.mark.parametrize("training", [False, True])
def test_preparing_says_how_long_it_took(scan, training):
    assert prepare_kernels(scan, training=training) > 0


def test_preparing_runs_every_fused_step(monkeypatch):
    used = set()
    for name in FUSED.__dataclass_fields__:
        step = getattr(FUSED, name)

        def spy(*arguments, name=name, step=step):
            used.add(name)
            return step(*arguments)

        monkeypatch.setitem(FUSED.__dict__, name, spy)
    prepare_kernels("numba")
    assert used == set(FUSED.__dataclass_fields__)
