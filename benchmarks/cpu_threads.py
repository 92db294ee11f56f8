"""Measures what threads make of one tile, of small files and of training, beside earlier commits.

    python benchmarks/cpu_threads.py [--former 5ebffb2 37bbf33] [--seconds 3] [--bursts 14]
                                     [--rounds 1] [--processors 2] [--busy 0,1,2]

One tile: 64x64 pixels through the light x4 network, in bursts of four runs, in turns with those of
the other commits. Files: 48 images of 64x48 pixels through `mambair sr --model tiny`, its start not
counted. Training: steps of the tiny x4 network on 8 patches of 48x48, for some seconds. Commits
take turns, quiet and beside loops of Python that never wait; each has the variables that its
command sets. Writes benchmarks/results/cpu_threads.json: seconds, least and median, and processor
seconds; of one tile medians of bursts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from cpu_side_by_side import busy, former_checkout
from hardware import describe_commit, describe_cpu
from PIL import Image

HERE = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "cpu_threads.json"
FILES = 48
MEASURE = """
import json, os, statistics, sys, time, tomllib
from mambair_cli.cli.main import ENVIRONMENT_DEFAULTS
for name, value in ENVIRONMENT_DEFAULTS.items():
    os.environ.setdefault(name, value)
import torch
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.allocator import keep_freed_memory
from mambair_cli.training.config import OptimTable
from mambair_cli.training.data import Batch
from mambair_cli.training.loop import Trainer
keep_freed_memory()
torch.manual_seed(0)

def timed(run):
    run()
    walls, used, end = [], time.process_time(), time.perf_counter() + float(sys.argv[2])
    while not walls or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        walls.append(time.perf_counter() - start)
    return walls, (time.process_time() - used) / len(walls)

def bursts():
    network = build_network(MambaIRConfig()).eval().requires_grad_(False)
    set_scan_backend(network, "numba")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for _ in sys.stdin:
            walls, used = [], time.process_time()
            for _ in range(4):
                start = time.perf_counter()
                network(x)
                walls.append(time.perf_counter() - start)
            used = (time.process_time() - used) / len(walls)
            print(json.dumps([min(walls), statistics.median(walls), used]), flush=True)

def training():
    table = tomllib.loads(open("recipes/mambair-tiny-sr-x4.toml").read())["network"]
    network = build_network(MambaIRConfig(**table | {"depths": tuple(table["depths"])}))
    trainer = Trainer(network, OptimTable())
    trainer.set_scan_backend("numba")
    batch = Batch(torch.rand(8, 3, 48, 48), torch.rand(8, 3, 192, 192))
    return timed(lambda: trainer.step(batch, 0))

if sys.argv[1] == "one tile":
    bursts()
else:
    print(json.dumps(training()))
"""

Figures = dict[str, float]


def environment(checkout: Path, threads: int) -> dict[str, str]:
    """Have a process import a checkout, and use so many threads."""
    count = str(threads)
    return os.environ | {
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
    }


def in_bursts(checkouts: dict[str, Path], bursts: int, threads: int) -> dict[str, Figures]:
    """Measure one tile: a process for each checkout, one of them running at a time."""
    taken: dict[str, list[list[float]]] = {commit: [] for commit in checkouts}
    with ExitStack() as stack:
        processes = {
            commit: stack.enter_context(
                subprocess.Popen(  # noqa: S603
                    [sys.executable, "-c", MEASURE, "one tile"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=checkout,
                    env=environment(checkout, threads),
                )
            )
            for commit, checkout in checkouts.items()
        }
        for _ in range(1 + bursts):
            for commit, process in processes.items():
                print(file=process.stdin, flush=True)
                taken[commit].append(json.loads(process.stdout.readline()))
    return {
        # The first burst compiles.
        commit: dict(zip(("least", "median", "processor"), medians(rows[1:]), strict=True))
        for commit, rows in taken.items()
    }


def medians(rows: list[list[float]]) -> list[float]:
    """Take the median of each column."""
    return [round(statistics.median(column), 4) for column in zip(*rows, strict=True)]


def measured(checkout: Path, what: str, folder: Path, seconds: float, threads: int) -> Figures:
    """Seconds of the wall, least and median, and of the processor."""
    command = [sys.executable, "-c", MEASURE, what, str(seconds)]
    if what == "files":
        options = ["--model", "tiny", "--scale", "4", "--device", "cpu", "--overwrite", "--json"]
        restore = ["sr", str(folder), "-o", str(folder / "out"), *options]
        command = [sys.executable, "-m", "mambair_cli", *restore]
    done = subprocess.run(  # noqa: S603
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=checkout,
        env=environment(checkout, threads),
    )
    last = json.loads(done.stdout.splitlines()[-1])
    if what == "files":
        return {"median": round(last["seconds"] / FILES, 4)}
    walls, used = last
    return {
        "least": round(min(walls), 4),
        "median": round(statistics.median(walls), 4),
        "processor": round(used, 4),
    }


def main() -> None:
    """Runs the measurements and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--former", nargs="+", default=["5ebffb2", "37bbf33"])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--bursts", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processors", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--busy", default="0,1,2")
    arguments = parser.parse_args()
    threads = arguments.processors
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    rows: dict[str, dict[str, dict[str, list[Figures]]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for index in range(FILES):
            noise = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{index:02}.png")
        checkouts = {
            commit: stack.enter_context(former_checkout(commit)) for commit in arguments.former
        } | {"now": HERE}
        whats = ("files", "training")
        for what in whats:  # compiles
            for checkout in checkouts.values():
                measured(checkout, what, folder, 0, threads)
        for others in arguments.busy.split(","):
            row: dict[str, dict[str, list[Figures]]] = {
                what: {commit: [] for commit in checkouts} for what in ("one tile", *whats)
            }
            with busy(int(others)):
                for _ in range(arguments.rounds):
                    bursts = in_bursts(checkouts, arguments.bursts, threads)
                    for commit, figures in bursts.items():
                        row["one tile"][commit].append(figures)
                    for what in whats:
                        for commit, checkout in checkouts.items():
                            taken = measured(checkout, what, folder, arguments.seconds, threads)
                            row[what][commit].append(taken)
            rows[f"{others} busy"] = row
            print(json.dumps({f"{others} busy": row}, indent=1), flush=True)
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "processors": threads,
        "beside": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
