"""Kernels on several threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import several_threads
import torch

from mambair_cli.errors import BackendError
from mambair_cli.kernels.numba_launch import flat


@pytest.mark.parametrize("whose", ["pytorch's", "ours"])
def test_threads_change_nothing_and_may_be_entered_by_two_at_once(whose):
    threads = {"OMP_NUM_THREADS": str(several_threads.THREADS), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, several_threads.__file__, whose],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | threads | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize("scan", ["numba", "torch"])
def test_forked_workers_restore_the_same(scan):
    threads = {"OMP_NUM_THREADS": "2"}
    script = Path(__file__).parents[1] / "support" / "forked_workers.py"
    done = subprocess.run(
        [sys.executable, script, scan], capture_output=True, text=True, check=False,
        env=os.environ | threads | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_tensor_of_another_device_is_refused():
    with pytest.raises(BackendError, match="was given a tensor on meta"):
        flat(torch.empty(3, device="meta"))
