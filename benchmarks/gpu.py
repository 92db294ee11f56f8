"""Proves and measures the GPU engine in one call; benchmarks/README.md says how to prepare it.

    python benchmarks/gpu.py [--name h200] [--peers .peers] [--data SETS] [--budget-s 520]
    python benchmarks/gpu.py --device cpu --quick        # the same code on toy sizes, no figures

Needs no more than PyTorch, Triton, Numba and what usually stands beside them. Steps are run most
valuable first, within the budget; what no longer fits is left out and named. Writes gpu_NAME.json,
after every step, and gpu_NAME.log.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardware import describe_commit
from on_gpu.schedule import LEFT_OUT, perform
from on_gpu.settings import Settings
from on_gpu.steps import STEPS, Step
from on_gpu.summary import summary
from on_gpu.workers import Workers

from mambair_cli.plain_json import to_json

HERE = Path(__file__).resolve().parent
CPU_SLOWER = 6.0  # limits are of a GPU, and the CPU's budget is as many times larger


def commit() -> str:
    """The commit, where the copy that runs is a repository."""
    try:
        return describe_commit()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown: give --commit"


def chosen(only: str) -> tuple[Step, ...]:
    """The steps of these kinds or names."""
    wanted = only.split(",")
    if unknown := set(wanted) - {word for step in STEPS for word in (step.kind, step.name)}:
        raise argparse.ArgumentTypeError(f"no kind of step and no step: {', '.join(unknown)}")
    return tuple(step for step in STEPS if step.kind in wanted or step.name in wanted)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--name", default="", help="names the result, gpu_NAME.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="toy sizes; no figures")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers", help="their sources")
    parser.add_argument("--data", type=Path, help="benchmark sets, a folder each; default: samples")
    parser.add_argument("--budget-s", type=float, default=520, help="seconds in all")
    parser.add_argument(
        "--only", type=chosen, default=STEPS, help="kinds of steps or steps, comma-separated"
    )
    parser.add_argument("--commit", help="which commit this copy is")
    parser.add_argument("--output", type=Path, help="folder; default: $OUT, or benchmarks/results")
    return parser.parse_args(words)


def target_of(arguments: argparse.Namespace) -> Path:
    """The file that the result is written to; that of toy sizes is nobody's figures."""
    usual = tempfile.gettempdir() if arguments.quick else HERE / "results"
    folder = arguments.output or Path(os.environ.get("OUT") or usual)
    folder.mkdir(parents=True, exist_ok=True)
    name = arguments.name or arguments.device.replace(":", "_")
    return Path(folder) / f"gpu_{name}{'_quick' if arguments.quick else ''}.json"


def run(
    arguments: argparse.Namespace,
    target: Path,
    folder: Path,
    workers_of: Callable[[Settings, Path], Any] = Workers,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Runs all steps that the time allows; the result is written after each.

    Args:
        arguments: The command line.
        target: File of the result; the log stands beside it.
        folder: For what steps leave to each other.
        workers_of: Makes what runs the steps.
        clock: Tells seconds.
    """
    settings = Settings(
        arguments.device,
        arguments.quick,
        folder,
        arguments.peers.resolve(),
        arguments.data and arguments.data.resolve(),
    )
    slower = 1.0 if settings.on_gpu else CPU_SLOWER
    started = clock()
    result: dict[str, Any] = {
        "commit": arguments.commit or commit(),
        "command": shlex.join(sys.argv),
        "device": arguments.device,
        "quick": arguments.quick,
        "budget_s": arguments.budget_s * slower,
        "took_s": 0.0,
        "left_out": [],
        "steps": {},
    }

    def keep(step: Step, outcome: dict[str, Any]) -> None:
        result["steps"][step.name] = outcome
        result["took_s"] = round(clock() - started, 1)
        if outcome["outcome"] == LEFT_OUT:
            result["left_out"].append(step.name)
        print(f"{step.name}: {outcome['outcome']}, {outcome['took_s']} s", flush=True)
        target.write_text(to_json(result, indent=1) + "\n")

    steps = arguments.only
    workers = workers_of(settings, target.with_suffix(".log"))
    try:
        if settings.on_gpu:  # many processors, and every second of the GPU counts
            for name in dict.fromkeys(step.runs_in for step in steps):
                workers.start(name)
        perform(steps, workers, result["budget_s"], clock, keep, slower)
    finally:
        workers.stop()
    return result


def main() -> None:
    """Runs the benchmark and prints a short table."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the processes that it started
    target = target_of(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments, target, Path(folder))
    print("\n" + summary(result))
    print(f"\nwritten to {target} and {target.with_suffix('.log')}, {result['took_s']:.0f} s")


if __name__ == "__main__":
    main()
