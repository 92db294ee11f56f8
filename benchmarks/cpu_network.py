"""Times whole networks on a CPU: fused kernels against the reference scan, in one process.

    python benchmarks/cpu_network.py [--networks light,"light v2"] [--runs 7] [--skip-reference]

Writes benchmarks/results/cpu_network.json: commit, hardware, seconds, ratio, the share of each
stage, and the peak memory of both scans.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from hardware import describe_commit, describe_cpu
from torch.profiler import ProfilerActivity, profile

from mambair_cli.networks import MambaIRConfig, MambaIRv2Config, build_network
from mambair_cli.restoration.device.precision import computing_in, resolve_precision
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.available import available_memory
from mambair_cli.restoration.memory.footprint import bytes_per_pixel

RESULT = Path(__file__).parent / "results" / "cpu_network.json"
LARGE = {"embed_dim": 180, "d_state": 16, "depths": (6,) * 6}
NETWORKS = {
    "light": MambaIRConfig(),
    "classic": MambaIRConfig(**LARGE, mlp_ratio=2.0, upsampler="pixelshuffle"),
    "denoise": MambaIRConfig(**LARGE, mlp_ratio=1.2, upsampler="", upscale=1),
    "light v2": MambaIRv2Config(),
    "base v2": MambaIRv2Config(
        embed_dim=174, d_state=16, depths=(6,) * 6, num_heads=(6,) * 6, inner_rank=64,
        num_tokens=128, mlp_ratio=2.0, upsampler="pixelshuffle", light=False,
    ),
}  # fmt: skip
STAGES = {
    "scan": ("_SelectiveScan2d",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "convolutions": ("aten::mkldnn_convolution",),
    "depth-wise convolutions": ("_Depthwise",),
    "norm, gate, residual": ("_Norm", "_NormGate", "_ResidualNorm", "_GatedResidual"),
}


def seconds_of(network: torch.nn.Module, tile: torch.Tensor, runs: int) -> list[float]:
    """Seconds of each of `runs` forward passes, without a warm-up."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        network(tile)
        taken.append(time.perf_counter() - start)
    return taken


def stage_shares(network: torch.nn.Module, tile: torch.Tensor) -> dict[str, float]:
    """Each stage's share of a profiled forward pass."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        network(tile)
    stage_of = {name: stage for stage, names in STAGES.items() for name in names}
    spent: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        spent[stage_of.get(event.key, "everything else")] += event.self_cpu_time_total
    whole = sum(spent.values())
    ranked = sorted(spent.items(), key=lambda item: -item[1])
    return {stage: round(part / whole, 3) for stage, part in ranked}


@torch.inference_mode()
def compare(name: str, runs: int, *, reference: bool) -> dict[str, object]:
    """Times one network in every precision, and with the reference scan."""
    torch.manual_seed(0)
    network = build_network(NETWORKS[name]).eval().requires_grad_(False)
    tile = torch.rand(1, 3, 64, 64)
    set_scan_backend(network, "numba")
    network(tile)
    fused = seconds_of(network, tile, runs)
    row: dict[str, object] = {
        "seconds": round(statistics.median(fused), 4),
        "fastest": round(min(fused), 4),
        "shares": stage_shares(network, tile),
    }
    if "bf16" in supported_precisions():
        with computing_in("bf16", torch.device("cpu")):
            network(tile)
            row["bf16_seconds"] = round(statistics.median(seconds_of(network, tile, runs)), 4)
    if reference:
        expected = network(tile)
        set_scan_backend(network, "reference")
        start = time.perf_counter()
        slow = network(tile)
        row["reference_seconds"] = round(time.perf_counter() - start, 2)
        row["ratio"] = round(row["reference_seconds"] / row["seconds"], 1)
        row["largest_difference_over_deviation"] = float((slow - expected).abs().max() / slow.std())
    return row


def supported_precisions() -> list[str]:
    """The number formats that this CPU computes in."""
    from mambair_cli.errors import BackendError

    supported = []
    for precision in ("fp32", "bf16"):
        try:
            supported.append(resolve_precision(precision, torch.device("cpu")))
        except BackendError:
            continue
    return supported


MEMORY_PROBE = """
import pathlib, sys, torch
sys.path[:0] = {path!r}
from cpu_network import NETWORKS, with_one_block
from mambair_cli.networks import build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend
status = pathlib.Path("/proc/self/status")
peak = lambda: int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
network = build_network(with_one_block(NETWORKS[{name!r}])).eval().requires_grad_(False)
set_scan_backend(network, {scan!r})
with torch.inference_mode():
    network(torch.rand(1, 3, 16, 16))
    before = peak()
    network(torch.rand(1, 3, {side}, {side}))
print(peak() - before)
"""


def with_one_block(config: MambaIRConfig | MambaIRv2Config) -> MambaIRConfig | MambaIRv2Config:
    """A network that has everything but all other blocks."""
    if isinstance(config, MambaIRv2Config):
        return replace(config, depths=(1,), num_heads=config.num_heads[:1])
    return replace(config, depths=(1,))


def peak_bytes_per_pixel(name: str, scan: str, side: int) -> int | str:
    """Growth of a fresh process's peak memory for each input pixel, with one block."""
    needed = side**2 * bytes_per_pixel(NETWORKS[name], "fp32", scan)
    if needed > available_memory(torch.device("cpu")) / 2:
        return f"not run: would take about {needed / 2**30:.0f} GiB"
    code = MEMORY_PROBE.format(path=sys.path[:1], name=name, scan=scan, side=side)
    printed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return round(int(printed) / side**2)


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--skip-reference", action="store_true")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    arguments = parser.parse_args()
    names = arguments.networks.split(",")
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if not arguments.skip_speed:
        result |= {"commit": describe_commit(), "hardware": describe_cpu(), "tile": "1x3x64x64"}
        result["networks"] = {
            name: compare(name, arguments.runs, reference=not arguments.skip_reference)
            for name in names
        }
    if not arguments.skip_memory:
        result["peak_bytes_per_input_pixel"] = {
            name: {
                scan: {
                    f"{side}x{side}": peak_bytes_per_pixel(name, scan, side) for side in (128, 256)
                }
                for scan in ("reference", "numba")
            }
            for name in names
        }
    print(json.dumps(result, indent=1))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
