"""The tests of the GPU path, by file, with whatever of the tests' own needs is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from on_gpu import ROOT

if TYPE_CHECKING:
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

FILES = (
    "tests/restoration/test_on_a_gpu.py",
    "tests/kernels/block/test_ops_gpu.py",
    "tests/kernels/scan/test_triton_gpu.py",
)
# Without what pyproject.toml asks for, which needs a plugin; all markers.
OPTIONS = (
    "-o", "addopts=--import-mode=importlib", "-m", "", "-p", "no:cacheprovider", "-q",
    "--continue-on-collection-errors", "--durations=5",
)  # fmt: skip
# What pytest counts, in its last line.
COUNTS = r"(\d+) (?:tests? )?(passed|failed|errors?|skipped|collected|deselected)"


def step(report: Report, settings: Settings) -> None:
    """Runs each file in a process of its own, all at once; without a GPU only collects them."""
    options = OPTIONS if settings.on_gpu else (*OPTIONS, "--collect-only")
    with ThreadPoolExecutor(len(FILES)) as pool:
        running = {pool.submit(run_file, file, options): file for file in FILES}
        for finished in as_completed(running):
            report.put(finished.result(), running[finished])


def run_file(file: str, options: tuple[str, ...]) -> dict[str, object]:
    """Runs the tests of a file and prints what pytest does."""
    environment = {key: v for key, v in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # others' plugins, on any machine
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "pytest", *options, file],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        lines = []
        for line in running.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    return outcome(lines, running.returncode)


def outcome(lines: list[str], status: int) -> dict[str, object]:
    """What pytest's output says."""
    last = lines[-1] if lines else ""
    return {
        "exit_status": status,
        "counts": {word: int(count) for count, word in re.findall(COUNTS, last)},
        "last_line": last,
        "failed": [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20],
    }
