"""Times MambaIRv2 beside version 1 of its class, and beside its own reference scan, on a CPU.

    python benchmarks/cpu_v2.py [--runs 5] [--skip-reference]

One 64x64 tile, one thread, frozen random weights, both in turns; medians of processor seconds, on
every instruction set of this CPU. The reference scan, which the published code has where there is
no GPU, runs once. Writes benchmarks/results/cpu_v2.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from cpu_peers import FORCED, NETWORKS
from hardware import describe_commit, describe_cpu
from llvmlite import binding

from mambair_cli.networks import build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.allocator import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "cpu_v2.json"
PAIRS = {"light": ("light", "light v2"), "base": ("classic", "base v2")}


def seconds(network: torch.nn.Module, tile: torch.Tensor) -> float:
    """Processor seconds of one run."""
    start = time.process_time()
    network(tile)
    return time.process_time() - start


def compared(names: tuple[str, str], runs: int, *, reference: bool) -> dict[str, float]:
    """Time version 1 and version 2 of a class in turns."""
    torch.manual_seed(0)
    tile, networks = torch.rand(1, 3, 64, 64), []
    for name in names:
        network = build_network(NETWORKS[name]).eval().requires_grad_(False)
        set_scan_backend(network, "numba")
        network(tile)
        networks.append(network)
    taken: list[list[float]] = [[], []]
    for _ in range(runs):
        for network, times in zip(networks, taken, strict=True):
            times.append(seconds(network, tile))
    first, second = map(statistics.median, taken)
    row = {"version 1": round(first, 3), "version 2": round(second, 3)}
    row["over version 1"] = round(second / first, 3)
    if reference:
        set_scan_backend(networks[1], "reference")
        slow = seconds(networks[1], tile)
        row |= {"reference scan": round(slow, 2), "ratio": round(slow / second, 1)}
    return row


def main() -> None:
    """Runs a process for each instruction set and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--skip-reference", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        keep_freed_memory()
        rows: dict[str, object] = {"hardware": describe_cpu()}
        for name, pair in PAIRS.items():
            rows[name] = compared(pair, arguments.runs, reference=not arguments.skip_reference)
        print(json.dumps(rows))
        return
    result: dict[str, object] = {"commit": describe_commit(), "tile": "1x3x64x64"}
    has_avx512 = bool(binding.get_host_cpu_features().get("avx512f"))
    for name, variables in FORCED.items():
        if name == "AVX-512" and not has_avx512:
            continue
        words = [sys.executable, __file__, "--here", "--runs", str(arguments.runs)]
        # The reference takes long, once is enough.
        if arguments.skip_reference or (name != "AVX-512" and has_avx512):
            words.append("--skip-reference")
        printed = subprocess.run(  # noqa: S603
            words, check=True, capture_output=True, text=True, env=os.environ | variables
        ).stdout
        result[name] = json.loads(printed)
        print(json.dumps({name: result[name]}, indent=1), flush=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
