"""Compiling ahead: the launches of whole networks are recorded without a GPU, and found again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
sys.path.insert(0, "benchmarks")
from unittest.mock import patch
import torch
from on_gpu import warm
from on_gpu.cases import case_of
"""
RECORD = """
refused = {}
calls = list(warm.record(warm.H200, refused, quick=QUICK))
print(json.dumps([refused, [[call.kernel[1], str(call.key)] for call in calls]]))
import pickle
assert pickle.loads(pickle.dumps(calls)) == calls
"""
COMPILE = """
from mambair_cli.kernels.scan import triton_gpu
from mambair_cli.kernels.scan.dispatch import TRITON
from mambair_cli.networks.ss2d import SS2D
from triton.runtime import driver
from triton.runtime.jit import JITFunction
from pathlib import Path
import os
cache = Path(os.environ["TRITON_CACHE_DIR"])
calls = [c for c in warm.record(warm.H200, {}, quick=True) if c.kernel[1] == "scan_chunks"]
why = [warm.compile_call(call, on_gpu=False) for call in calls]
made = {path.name for path in cache.iterdir()}
scan = next(m for m in case_of("classic_x4", quick=True).network(torch.device("cpu"), "torch")
            .modules() if isinstance(m, SS2D))
scan.scan = TRITON
launched, real = [], JITFunction.run
def run(kernel, *values, grid, warmup=False, **named):
    launched.append(real(kernel, *values, grid=grid, warmup=True, **named).hash)
h200 = patch.object(triton_gpu, "processor", lambda _: warm.H200)
with patch.object(JITFunction, "run", run), h200:
    u = torch.randn(1, 16, 24, scan.d_inner).bfloat16()
    with torch.inference_mode():
        scan.run(u, scan.project(u.float()))
print(json.dumps([why, len(calls), launched, len({p.name for p in cache.iterdir()} - made)]))
"""


def run(program, tmp_path):
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_network_is_recorded_without_a_gpu(tmp_path):
    refused, calls = run(RECORD.replace("QUICK", "True"), tmp_path)
    assert refused == {}
    kernels = {name for name, _ in calls}
    assert {"scan_chunks", "depthwise", "residual_norm", "norm_gate", "gated_residual"} <= kernels
    assert len({key for _, key in calls}) == len(calls)
    assert any("'maxnreg', 168" in key for _, key in calls)  # what the sweep will launch


@pytest.mark.slow
def test_all_networks_formats_and_gradients_are_recorded(tmp_path):
    refused, calls = run(RECORD.replace("QUICK", "False"), tmp_path)
    assert refused == {}
    kernels = [name for name, _ in calls]
    assert {"adjoint_chunks", "scan_gradients", "channel_gate"} <= set(kernels)
    assert 150 < len(calls) < 500
    for dtype in ("float32", "bfloat16", "float16"):
        assert any(dtype in key for name, key in calls if name == "norm_gate")


@pytest.mark.slow
def test_a_launch_finds_what_was_compiled_for_it(tmp_path):
    failed, recorded, launched, more = run(COMPILE, tmp_path)
    assert not any(failed)
    assert recorded >= 2
    assert len(launched) == 2
    assert more == 0


def test_every_decision_by_device_is_known_to_what_records():
    """What a network does on CUDA alone must be done while its launches are recorded, too."""
    folders = ("kernels", "networks", "restoration/device")
    package = ROOT / "mambair_cli"
    deciding = {
        path.name
        for folder in folders
        for path in (package / folder).rglob("*.py")
        if re.search(r"""device\.type [!=]= "cuda\"""", path.read_text())
    }
    recorded = {"aligned.py", "ops_gpu.py", "triton_division.py"}
    # Precision by name, other devices' kernels.
    others = {"compute.py", "precision.py", "mamba_ssm_cuda.py"}
    assert deciding == recorded | others


def test_what_cannot_be_compiled_says_why():
    from on_gpu.warm import Call, compile_call

    call = Call(("mambair_cli.kernels.scan.triton_forward", "no_such_kernel"), (), (), (1,))
    assert "no_such_kernel" in compile_call(call, on_gpu=True)
