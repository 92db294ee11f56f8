"""Times the ways to run a point-wise product on a CPU, at the shapes of the published networks.

    python benchmarks/cpu_products.py [--runs 20]

Each product of `(l c)` by `(c d)` runs as a linear layer, as a 1x1 convolution on channels-last
memory, and in bfloat16 with and without the conversions around it. Writes
benchmarks/results/cpu_products.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hardware import describe_commit, describe_cpu
from torch.nn import functional

RESULT = Path(__file__).parent / "results" / "cpu_products.json"
SIDE = 64
PRODUCTS = {
    "light in_proj": (60, 72),
    "light x_proj": (72, 96),
    "light out_proj": (72, 60),
    "classic in_proj": (180, 360),
    "classic x_proj": (360, 176),
    "classic out_proj": (360, 180),
    "denoise in_proj": (180, 216),
}


def milliseconds(function: Callable[[], object], runs: int) -> float:
    """Median time of a call, after one that is not counted."""
    function()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(taken), 3)


@torch.inference_mode()
def compare(inputs: int, outputs: int, runs: int) -> dict[str, float]:
    """Milliseconds of each way, for a 64x64 tile."""
    x, weight = torch.randn(1, SIDE, SIDE, inputs), torch.randn(outputs, inputs)
    kernel = weight[:, :, None, None].contiguous(memory_format=torch.channels_last)
    short_x, short_weight = x.bfloat16(), weight.bfloat16()
    ways: dict[str, Callable[[], object]] = {
        "linear": lambda: functional.linear(x, weight),
        "convolution": lambda: functional.conv2d(x.permute(0, 3, 1, 2), kernel),
        "linear bf16": lambda: functional.linear(short_x, short_weight),
        "linear bf16, converted": lambda: functional.linear(x.bfloat16(), short_weight).float(),
    }
    row = {name: milliseconds(way, runs) for name, way in ways.items()}
    row["GFLOP"] = round(2 * SIDE**2 * inputs * outputs / 1e9, 3)
    return row


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    products = {name: compare(*shape, runs) for name, shape in PRODUCTS.items()}
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "tile": f"{SIDE}x{SIDE}",
        "milliseconds": products,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(products, indent=1))
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
