"""Parts of the GPU benchmark that read what other programs print, or change how kernels run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from on_gpu import counters, peers, quality, suite
from on_gpu.speed import stage_of
from PIL import Image

ROOT = Path(__file__).parents[2]
GIT = shutil.which("git")
NCU = """==PROF== Connected to process 77
==PROF== Profiling "scan_chunks" - 4: 0%....50%....100% - 9 passes
"ID","launch__registers_per_thread","smsp__issue_active.avg.pct_of_peak_sustained_active"
"","register/thread","%"
"0","166","81.5"
"1","178","90.25"
"""


def test_the_table_of_ncu_is_found_in_its_output():
    assert counters.metrics(NCU) == [
        {"registers": "166", "issue_active_%": "81.5"},
        {"registers": "178", "issue_active_%": "90.25"},
    ]
    assert counters.metrics("==ERROR== LibraryNotLoaded\n") == []


def test_a_gpu_whose_counters_cannot_be_read_says_what_ncu_said(monkeypatch, tmp_path):
    fake = tmp_path / "ncu"
    fake.write_text("#!/bin/sh\necho '==ERROR== LibraryNotLoaded' >&2\nexit 9\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="LibraryNotLoaded"):
        counters.counted("classic_x4")


@pytest.mark.parametrize(
    ("last", "counts"),
    [
        ("3 failed, 20 passed, 1 error in 5.10s", {"failed": 3, "passed": 20, "error": 1}),
        ("10 tests collected in 0.52s", {"collected": 10}),
        ("10/12 tests collected (2 deselected) in 1s", {"deselected": 2}),
        ("no tests ran in 0.01s", {}),
    ],
)
def test_pytest_is_counted(last, counts):
    found = suite.outcome(["FAILED tests/a.py::b - AssertionError", last], 1)
    assert counts.items() <= found["counts"].items()
    assert found["failed"] == ["FAILED tests/a.py::b - AssertionError"]
    assert suite.outcome([], 4)["exit_status"] == 4


def test_the_files_of_the_gpu_path_are_there():
    assert all((ROOT / file).is_file() for file in suite.FILES)
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "\npytestmark = pytest.mark.gpu\n" in path.read_text()
    }
    assert marked <= set(suite.FILES)


def test_only_the_forward_kernel_is_built(tmp_path):
    sources = {path.name: path.read_text() for path in peers.write_sources(tmp_path)}
    assert set(sources) == {"fwd_float.cu", "refused.cpp"}
    assert "selective_scan_fwd_cuda<float, float>" in sources["fwd_float.cu"]
    refused = sources["refused.cpp"]
    assert "selective_scan_fwd_cuda<float, float>" not in refused
    assert "template void selective_scan_bwd_cuda<float, float>" in refused
    assert refused.count("template void selective_scan_fwd_cuda") == 5
    assert refused.count("template void selective_scan_bwd_cuda") == 6


@pytest.mark.parametrize(
    ("kernel", "stage"),
    [
        ("scan_chunks", "scan"),
        ("void selective_scan_fwd_kernel<...>", "scan"),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention"),
        ("void at::native::radixSortKVInPlace<...>", "sorting"),
        ("nvjet_tst_128x64_64x8_2x1_v_bz_TNT", "products"),
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16", "convolutions"),
        ("depthwise", "depthwise"),
        ("residual_norm", "norms"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("something new", "everything else"),
    ],
)
def test_kernels_have_stages_by_their_names(kernel, stage):
    assert stage_of(kernel) == stage


def test_sets_are_folders_of_high_resolution_images(tmp_path):
    for folder in ("Set5/HR", "Set5/LR_bicubic/X4", "Set14"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (40, 24), 77).save(tmp_path / folder / "bird.png")
    found = [(name, stem, pixels.shape) for name, stem, pixels in quality.truths(tmp_path)]
    assert found == [("Set14", "bird", (24, 40, 3)), ("Set5", "bird", (24, 40, 3))]
    samples = list(quality.truths(None))
    assert len(samples) == 4
    assert all(pixels.dtype == np.uint8 for _, _, pixels in samples)


SWEEP = """
import sys
sys.path.insert(0, "benchmarks")
import torch
from on_gpu.cases import case_of
from on_gpu.sweep import cut_into, scan_of
from mambair_cli.kernels.scan import triton_forward, triton_gpu
run, (u, _) = scan_of(case_of("light_x4", quick=True), torch.device("cpu"), torch.float32, (1, 4))
plain, kernel, grids = run(u), triton_forward.scan_chunks, []
class Seen:
    def __getitem__(self, grid):
        def launch(*values, **named):
            grids.append((grid[1], named.get("maxnreg")))
            return kernel[grid](*values, **named)
        return launch
triton_forward.scan_chunks = Seen()
for chunks, registers in ((1, None), (3, 168)):
    with cut_into(chunks, registers):
        assert (run(u) - plain).abs().max() < 1e-5
print(grids)
"""


def test_the_sweep_cuts_as_it_says_and_changes_no_result():
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", SWEEP], cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([(1, None), (1, 168), (2, 168)])


@pytest.mark.skipif(GIT is None, reason="git is not here")
def test_sources_of_others_are_never_committed(tmp_path):
    repository, clone = tmp_path / "here", tmp_path / "clone"
    (repository / "benchmarks" / "on_gpu").mkdir(parents=True)
    script = repository / "benchmarks" / "on_gpu" / "peers.sh"
    shutil.copy(ROOT / "benchmarks" / "on_gpu" / "peers.sh", script)
    for folder in (repository, clone):
        folder.mkdir(exist_ok=True)
        subprocess.run([GIT, "init", "-q"], cwd=folder, check=True)
    done = subprocess.run(
        ["/bin/sh", script, clone, clone, clone], capture_output=True, check=False
    )
    assert done.returncode != 0  # it has none of the revisions
    (repository / ".peers" / "x").write_text("theirs")
    status = subprocess.run(
        [GIT, "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert ".peers" not in status.stdout
