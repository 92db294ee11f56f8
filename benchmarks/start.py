"""Measures what a command costs beside `import torch`, and the first run after an installation.

    python benchmarks/start.py [--runs 5]

Processor seconds, all in turns, of `mambair` restoring one 64x48 image, measuring it (`bench`) and
`doctor`; then of restoring it where no kernel was compiled before. Writes
benchmarks/results/start.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from hardware import describe_commit, describe_cpu
from PIL import Image

RESULT = Path(__file__).parent / "results" / "start.json"
TINY = ("--model", "tiny", "--scale", "4", "--device", "cpu")


def processor_seconds(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system time of a process and those that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True, env=environment)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, each restoring or measuring one image of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (folder / "images").mkdir()
    Image.fromarray(noise).save(folder / "image.png")
    Image.fromarray(noise.repeat(4, 0).repeat(4, 1)).save(folder / "images" / "image.png")
    mambair = [sys.executable, "-m", "mambair_cli"]
    restored = [str(folder / "image.png"), "-o", str(folder / "result.png"), "--overwrite"]
    return {
        "import torch": [sys.executable, "-c", "import torch"],
        "sr": [*mambair, "sr", *TINY, *restored],
        "bench": [*mambair, "bench", *TINY, "--data", str(folder / "images")],
        "doctor": [*mambair, "doctor"],
    }


def main() -> None:
    """Runs the measurements and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    # As users have it: modules are compiled once.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as name:
        measured = commands(Path(name))
        seconds: dict[str, list[float]] = {what: [] for what in measured}
        for words in measured.values():
            processor_seconds(words, environment)
        for _ in range(runs):
            for what, words in measured.items():
                seconds[what].append(processor_seconds(words, environment))
        new = environment | {"NUMBA_CACHE_DIR": str(Path(name, "kernels"))}
        first = processor_seconds(measured["sr"], new)
    torch_alone = seconds["import torch"]
    rows = {}
    for what, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, torch_alone, strict=True)]
        row = {"seconds": statistics.median(taken), "of import torch": statistics.median(ratios)}
        rows[what] = {name: round(value, 3) for name, value in row.items()}
    compiling = round(first - rows["sr"]["seconds"], 2)
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "processor_seconds": rows,
        "compiling_at_the_first_run": compiling,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
