"""Kernels on several threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import several_threads


def test_threads_change_nothing_and_may_be_entered_by_two_at_once():
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(several_threads.THREADS))
    done = subprocess.run(
        [sys.executable, several_threads.__file__],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | threads | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
