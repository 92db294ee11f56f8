"""The scan's kernels compile for GPUs that are not here: states in registers, wide loads."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from compile_kernels import described

from mambair_cli.kernels.scan import triton_backward, triton_forward, triton_gpu
from mambair_cli.kernels.scan.triton_division import Processor

CLASSIC = {"d": 360, "n": 16, "r": 12}
LIGHT = {"d": 72, "n": 10, "r": 4}
SECOND = {"d": 348, "n": 16, "r": 22, "k": 1}


class Recorder:
    """Stands in for a kernel and keeps what it was launched with."""

    def __init__(self, kernel, cases):
        self.kernel, self.cases = kernel, cases

    def __getitem__(self, grid):
        return self.record

    def record(self, *arguments, **constants):
        case = described(self.kernel, arguments, constants)
        if case not in self.cases:
            self.cases.append(case)


@pytest.fixture
def launched(monkeypatch):
    """Says what one scan of a 64x48 image launches, forward and backward."""

    def record(dtype, lanes, *, d, n, r, k=4, gradients=False):
        cases = []
        monkeypatch.setattr(
            triton_gpu, "processor", lambda _: Processor(132, lanes, limits_registers=lanes == 32)
        )
        for module, name in (
            (triton_forward, "scan_chunks"),
            (triton_backward, "adjoint_chunks"),
            (triton_backward, "scan_gradients"),
        ):
            monkeypatch.setattr(module, name, Recorder(getattr(module, name), cases))
        with torch.device("meta"):
            u = torch.empty(1, 64, 48, d, dtype=dtype)
            projected = torch.empty(1, 64, 48, k * (r + 2 * n))
            parameters = [torch.empty(k, d, *more) for more in [(r,), (), (n,), ()]]
        planes = triton_gpu._SelectiveScan2d.apply(u, projected, *parameters)
        if gradients:
            triton_gpu.gradients((u, projected, *parameters), planes)
        return cases

    return record


@pytest.mark.parametrize("planes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_forward_passes_keep_their_states_in_registers(planes, launched, compiled_for):
    passes = launched(torch.bfloat16, 32, **CLASSIC)
    assert [case["constants"]["WRITE_PLANES"] for case in passes] == [False, True]
    (result,) = compiled_for("sm_90", [passes[planes]])
    assert result["spilled"] == 0
    # Twelve warps of a multiprocessor's 65536 registers, three for each scheduler.
    assert result["registers"] <= passes[planes]["constants"]["maxnreg"] == 168
    assert result["accesses"]["LDG 128"] >= 7  # step inputs and B of a token


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "lanes", "sizes", "dtype"),
    [
        ("sm_75", 32, CLASSIC, torch.float16),
        ("sm_90", 32, CLASSIC, torch.bfloat16),
        ("sm_90", 32, LIGHT, torch.float32),
        ("sm_80", 32, SECOND, torch.bfloat16),
        ("sm_90", 32, SECOND, torch.bfloat16),
        ("gfx942", 64, CLASSIC, torch.bfloat16),
    ],
    ids=lambda value: str(value.get("d") if isinstance(value, dict) else value),
)
def test_every_kernel_compiles(target, lanes, sizes, dtype, launched, compiled_for):
    cases = launched(dtype, lanes, **sizes, gradients=True)
    assert {case["kernel"] for case in cases} == {"scan_chunks", "adjoint_chunks", "scan_gradients"}
    for case, result in zip(cases, compiled_for(target, cases), strict=True):
        # Bytes of a thread, with two channels a lane: some values of the step's weights, of which
        # rank 22 has 176. One channel a lane spills none, and takes 1.1 times the instructions.
        few = {"scan_gradients": 144 if case["constants"]["R"] == SECOND["r"] else 96}
        assert result.get("spilled", 0) <= few.get(case["kernel"], 8), case
