"""Measures tiles of one image side by side on a CPU, quiet and beside busy processes.

    python benchmarks/cpu_side_by_side.py [--former 5ebffb2] [--seconds 8] [--rounds 2]
                                          [--processors 2] [--busy 0,1,2]

The light network restores six 64x64 tiles again and again. Ways, in turns: as an earlier commit
did it (`--former`; threads inside of a run, which wait for each other), the same with this
checkout, and one tile a processor. Busy processes are loops of Python that never wait. Writes
benchmarks/results/cpu_side_by_side.json: tiles a second of the wall, and processor seconds a tile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hardware import describe_commit, describe_cpu

HERE = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "cpu_side_by_side.json"
MEASURE = """
import json, sys, time
import torch
from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration import plan
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.allocator import keep_freed_memory
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor
way, seconds = sys.argv[1], float(sys.argv[2])
if way == "threads inside":
    plan.workers_for = lambda runs, threads: 1
keep_freed_memory()
torch.manual_seed(0)
network = build_network(MambaIRConfig()).eval().requires_grad_(False)
set_scan_backend(network, "numba")
spec, options = ModelSpec("light", "sr", 4, 3), RestoreOptions(tile=64, overlap=0)
image = torch.rand(1, 3, 128, 192)
restore_tensor(network, image[:, :, :64, :128], spec, options)
tiles, start, used = 0, time.perf_counter(), time.process_time()
while not tiles or time.perf_counter() - start < seconds:
    restore_tensor(network, image, spec, options)
    tiles += 6
wall, processor = time.perf_counter() - start, time.process_time() - used
print(json.dumps([tiles / wall, processor / tiles]))
"""


@contextmanager
def former_checkout(commit: str) -> Iterator[Path]:
    """A checkout of an earlier commit, as long as it is needed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "former"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", folder, commit], check=True)  # noqa: S603
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)  # noqa: S603


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other programs that want a processor each."""
    running = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measured(checkout: Path, way: str, seconds: float, processors: int) -> list[float]:
    """Tiles a second, and processor seconds a tile."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": str(processors),
        "NUMBA_NUM_THREADS": str(processors),
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", MEASURE, way, str(seconds)],
        check=True,
        capture_output=True,
        text=True,
        cwd=checkout,
        env=environment,
    )
    figures: list[float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Runs the measurements and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--former", default="5ebffb2")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--processors", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--busy", default="0,1,2")
    arguments = parser.parse_args()
    processors = arguments.processors
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
    rows = {}
    with former_checkout(arguments.former) as former:
        ways = {"former": former, "threads inside": HERE, "side by side": HERE}
        for way, checkout in ways.items():  # compiles
            measured(checkout, way, 0, processors)
        for others in map(int, arguments.busy.split(",")):
            figures: dict[str, list[list[float]]] = {way: [] for way in ways}
            with busy(others):
                for _ in range(arguments.rounds):
                    for way, checkout in ways.items():
                        taken = measured(checkout, way, arguments.seconds, processors)
                        figures[way].append(taken)
            row: dict[str, object] = {
                way: {
                    "tiles a second": [round(tiles, 3) for tiles, _ in taken],
                    "processor seconds a tile": [round(used, 3) for _, used in taken],
                }
                for way, taken in figures.items()
            }
            medians = {
                way: statistics.median(t for t, _ in taken) for way, taken in figures.items()
            }
            row["side by side over former"] = round(medians["side by side"] / medians["former"], 2)
            rows[f"{others} busy"] = row
            print(json.dumps({f"{others} busy": row}, indent=1), flush=True)
    result = {
        "commit": describe_commit(),
        "former": arguments.former,
        "hardware": describe_cpu(),
        "processors": processors,
        "beside": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
