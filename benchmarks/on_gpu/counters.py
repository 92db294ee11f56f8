"""What limits the two passes of the scan, by the counters that Nsight Compute reads, if it is here.

ncu ... python benchmarks/on_gpu/counters.py        # what is counted: a few scans
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

HERE = Path(__file__).resolve()
METRICS = {
    "gpu__time_duration.sum": "time",
    "smsp__issue_active.avg.pct_of_peak_sustained_active": "issue_active_%",
    "sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active": "special_function_pipe_%",
    "sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_active": "fma_pipe_%",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "warps_active_%",
    "dram__bytes.sum": "memory_bytes",
    "launch__registers_per_thread": "registers",
    "launch__grid_size": "programs",
}
WARM_UP, COUNTED = 4, 2  # launches, two for each scan
KERNEL = "scan_chunks"
CASES = ("classic_x4", "light_x4")


def step(report: Report, settings: Settings) -> None:
    """Counts both passes of a scan of each network; clocks are left as they are."""
    if not settings.on_gpu or shutil.which("ncu") is None:
        report.put({"skipped": "ncu is not here"}, "counters")
        return
    for name in CASES:
        report.attempt(lambda case=name: counted(case), "counters", name)


def counted(case: str) -> list[dict[str, str]]:
    """Runs a few scans under ncu and returns the metrics of the last two launches."""
    command = [
        "ncu", "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base",
        "--kernel-name", f"regex:{KERNEL}", "--launch-skip", str(WARM_UP),
        "--launch-count", str(COUNTED), "--metrics", ",".join(METRICS),
        sys.executable, str(HERE), case,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    print(done.stdout, done.stderr, flush=True)
    rows = metrics(done.stdout)
    if not rows:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise RuntimeError(f"ncu counted nothing: {' '.join(last)}")
    return rows


def metrics(output: str) -> list[dict[str, str]]:
    """The table in ncu's output: names, units, then a row a launch; anything may stand before."""
    lines = [line for line in output.splitlines() if line.startswith('"')]
    if len(lines) < 3:
        return []
    names, _units, *rows = csv.reader(lines)
    return [
        {METRICS[name]: value for name, value in zip(names, row, strict=False) if name in METRICS}
        for row in rows
    ]


def main() -> None:
    """Scans a few times; ncu counts what it was told to."""
    sys.path.insert(0, str(HERE.parents[1]))
    import torch

    from on_gpu.cases import case_of
    from on_gpu.sweep import scan_of

    case = case_of(sys.argv[1], quick=False)
    size = case.height, case.width
    run, (x, _) = scan_of(case, torch.device("cuda"), torch.bfloat16, size)
    for _ in range((WARM_UP + COUNTED) // 2):
        run(x)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
