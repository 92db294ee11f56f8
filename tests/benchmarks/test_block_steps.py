"""What one block launches is recorded without a GPU, for both versions of the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
sys.path.insert(0, "benchmarks")
import torch
from gpu_static import launches_of
from on_gpu.cases import case_of
launched = launches_of(case_of(sys.argv[1], quick=True), torch.bfloat16)
print(json.dumps([[l.step, l.kernel.__name__, l.named_constants.get("K")] for l in launched]))
"""


def launches(network):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, network],
        cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("network", "directions", "around"),
    [
        ("light_x4", 4, {"depthwise silu", "depthwise gelu", "depthwise none", "norm_gate"}),
        ("v2_light_x4", 1, {"depthwise 3x3", "depthwise 5x5", "norm of the gate"}),
        ("v2_base_x4", 1, {"depthwise 3x3", "depthwise 5x5", "norm of the scan"}),
    ],
)
def test_each_kernel_of_a_block_is_recorded(network, directions, around):
    status, out, err = launches(network)
    assert status == 0, err
    found = json.loads(out)
    scans = {k for step, kernel, k in found if (step, kernel) == ("scan", "scan_chunks")}
    assert scans == {directions}
    assert around <= {step for step, *_ in found}


def test_blocks_of_several_sizes_are_refused():
    status, _, err = launches("denoise_real_unet")
    assert status != 0
    assert "denoise_real_unet has blocks of several sizes" in err
