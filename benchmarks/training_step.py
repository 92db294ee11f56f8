"""Times a training iteration of this tree beside that of an earlier commit, turn by turn.

    python benchmarks/training_step.py [--before REV] [--rounds 3]

One iteration is 8 patches of 48x48 random pixels through the loss, the gradients, Adam and the
running average, for the networks of `RECIPES`, in float32 and in bf16 autocast. Each round
starts a fresh process for each tree; a figure is the median over all rounds. Writes
benchmarks/results/training_step.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "training_step.json"
BEFORE = "3f61519"  # the last commit whose backward scan went through memory state by state
RECIPES = ("mambair-tiny-sr-x4", "mambair-tiny-denoise-s25")
PRECISIONS = ("fp32", "bf16")
WARM_UP, ITERATIONS = 3, 15

Seconds = dict[str, list[float]]


def measure() -> Seconds:
    """Seconds of each iteration by case, with the package that this process imports."""
    import torch

    from mambair_cli.networks import build_network
    from mambair_cli.networks.spec import MambaIRConfig
    from mambair_cli.restoration.memory.allocator import keep_freed_memory
    from mambair_cli.training.config import OptimTable
    from mambair_cli.training.data import Batch
    from mambair_cli.training.loop import Trainer

    keep_freed_memory()
    found: Seconds = {}
    for name in RECIPES:
        # Not by the package: an earlier one refuses the keys that recipes have got since.
        text = (REPOSITORY / "recipes" / f"{name}.toml").read_text()
        network = tomllib.loads(text)["network"]
        config = MambaIRConfig(**network | {"depths": tuple(network["depths"])})
        for precision in PRECISIONS:
            torch.manual_seed(0)
            trainer = Trainer(build_network(config), OptimTable(precision=precision))
            trainer.set_scan_backend("numba")
            side = 48 * config.scale
            batch = Batch(torch.rand(8, 3, 48, 48), torch.rand(8, 3, side, side))
            seconds = []
            for iteration in range(WARM_UP + ITERATIONS):
                start = time.perf_counter()
                trainer.step(batch, iteration)
                seconds.append(time.perf_counter() - start)
            found[f"{name} {precision}"] = seconds[WARM_UP:]
    return found


def measure_in(tree: Path) -> Seconds:
    """The same in a fresh process that imports the package from `tree`."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, __file__, "--measure"],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds: Seconds = json.loads(done.stdout.splitlines()[-1])
    return seconds


def compare(before: Path, rounds: int) -> list[dict[str, float | str]]:
    """Iterations a second of both trees by case, and their ratio."""
    trees = {"before": before, "after": REPOSITORY}
    collected: dict[str, Seconds] = {tree: {} for tree in trees}
    for _ in range(rounds):
        for tree, path in trees.items():
            for case, seconds in measure_in(path).items():
                collected[tree].setdefault(case, []).extend(seconds)
    rows: list[dict[str, float | str]] = []
    for case in collected["after"]:
        rate = {tree: 1 / statistics.median(collected[tree][case]) for tree in trees}
        rows.append(
            {
                "case": case,
                **{f"iterations_per_second_{tree}": round(rate[tree], 3) for tree in trees},
                "ratio": round(rate["after"] / rate["before"], 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", default=BEFORE, help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return
    from hardware import describe_commit, describe_cpu

    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        git = ["git", "-C", str(REPOSITORY), "worktree"]
        subprocess.run([*git, "add", "--detach", str(before), options.before], check=True)  # noqa: S603
        try:
            rows = compare(before, options.rounds)
        finally:
            subprocess.run([*git, "remove", "--force", str(before)], check=True)  # noqa: S603
    result = {
        "commit": describe_commit(),
        "before": options.before,
        "hardware": describe_cpu(),
        "batch": "8 patches of 48x48",
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
