"""Times every scan backend that runs on a device against the reference, in one process.

    python benchmarks/scan_backends.py [--device cpu] [--runs 7] [--backends torch,numba]

One block of the light and of the classic x4 network on a 64x64 tile: seconds of the scan without
gradients and its ratio to the reference's, seconds of values and gradients together (the fastest of
all runs; the reference runs once), and on a CPU the growth of a fresh process's peak memory. Writes
benchmarks/results/scan_backends.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hardware import describe_commit, describe_cpu

from mambair_cli.kernels.scan import dispatch
from mambair_cli.restoration.memory.allocator import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "scan_backends.json"
SIDE = 64
# Inner channels, state size, rank of the step projection.
BLOCKS = {"light": (72, 10, 4), "classic": (360, 16, 12)}
Inputs = list[torch.Tensor]


def scan_inputs(name: str, device: torch.device) -> Inputs:
    """Random inputs with steps and decays of the size that trained networks have."""
    d, n, r = BLOCKS[name]
    torch.manual_seed(0)
    inputs = [
        torch.randn(1, SIDE, SIDE, d),
        torch.randn(1, SIDE, SIDE, 4 * (r + 2 * n)),
        0.3 * torch.randn(4, d, r),
        torch.randn(4, d) - 3,
        -torch.arange(1.0, n + 1).expand(4, d, n).contiguous(),
        torch.ones(4, d),
    ]
    return [tensor.to(device) for tensor in inputs]


def run(backend: dispatch.Backend, inputs: Inputs) -> torch.Tensor:
    """Values alone; a result in parts is summed, as the next step of the network does."""
    y = dispatch.selective_scan_2d(*inputs, backend=backend)
    return y.sum(0) if y.dim() == 5 else y


def values_and_gradients(backend: dispatch.Backend, inputs: Inputs) -> None:
    """Values, and the gradients of all inputs."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    run(backend, leaves).sum().backward()


def seconds(function: Callable[[], object], runs: int, device: torch.device) -> float:
    """Fastest time of a call; one that is not counted goes before where there are several."""
    taken = []
    for _ in range(runs + (runs > 1)):
        start = time.perf_counter()
        function()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(time.perf_counter() - start)
    return min(taken[runs > 1 :])


def compare(name: str, backends: list[dispatch.Backend], runs: int, device: torch.device) -> dict:
    """Times the backends on one block, and the reference once."""
    inputs = scan_inputs(name, device)
    results = []
    with torch.no_grad():
        slow = seconds(lambda: results.append(run(dispatch.REFERENCE, inputs)), 1, device)
    (expected,) = results
    # The reference indexes whole sequences, token by token: its gradients would take hours.
    rows = {"reference": {"seconds": round(slow, 4)}}
    for backend in backends:
        with torch.no_grad():
            difference = float((run(backend, inputs) - expected).norm() / expected.norm())
            fast = seconds(lambda backend=backend: run(backend, inputs), runs, device)
        gradients = seconds(
            lambda backend=backend: values_and_gradients(backend, inputs), runs, device
        )
        rows[backend.name] = {
            "seconds": round(fast, 4),
            "ratio": round(slow / fast, 1),
            "with_gradients": round(gradients, 4),
            "relative_rms_difference": float(f"{difference:.1e}"),
        }
    return rows


MEMORY_PROBE = """
import pathlib, sys, torch
sys.path[:0] = {path!r}
from scan_backends import dispatch, run, scan_inputs, values_and_gradients
backend = dispatch.select({backend!r}, torch.device("cpu"))
inputs = scan_inputs({name!r}, torch.device("cpu"))
small = [tensor[:, :2, :3] if tensor.dim() == 4 else tensor for tensor in inputs]
status = pathlib.Path("/proc/self/status")
peak = lambda: int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
values_and_gradients(backend, small)
with torch.set_grad_enabled({gradients}):
    before = peak()
    (values_and_gradients if {gradients} else run)(backend, inputs)
print(peak() - before)
"""


def peak_bytes(name: str, backend: str, *, gradients: bool) -> int:
    """Growth of a fresh process's peak memory through one scan.

    Whatever is freed goes back to the system at once, so that fragments of the heap do not count.
    """
    code = MEMORY_PROBE.format(path=sys.path[:1], name=name, backend=backend, gradients=gradients)
    printed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)},
    ).stdout
    return int(printed)


def memory_of(name: str, backends: list[dispatch.Backend]) -> dict[str, dict[str, float]]:
    """MiB at the peak of one scan, without and with gradients; the reference without."""
    rows = {"reference": {"values": mebibytes(peak_bytes(name, "reference", gradients=False))}}
    for backend in backends:
        rows[backend.name] = {
            "values": mebibytes(peak_bytes(name, backend.name, gradients=False)),
            "with_gradients": mebibytes(peak_bytes(name, backend.name, gradients=True)),
        }
    return rows


def mebibytes(count: int) -> float:
    """Bytes as MiB."""
    return round(count / 2**20, 1)


def main() -> None:
    """Runs the comparison and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--backends", default="mamba-ssm,numba,torch,triton")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        keep_freed_memory()
    backends = [
        backend
        for backend in dispatch.BACKENDS
        if backend.name in arguments.backends.split(",")
        and device.type not in backend.by_name_only
        and backend.refuses(device) is None
    ]
    result = {
        "commit": describe_commit(),
        "hardware": describe_cpu(),
        "device": str(device),
        "tile": f"1x{SIDE}x{SIDE}",
        "blocks": {name: compare(name, backends, arguments.runs, device) for name in BLOCKS},
    }
    if device.type == "cpu":
        result["peak_mebibytes"] = {name: memory_of(name, backends) for name in BLOCKS}
    else:
        result["device_name"] = torch.get_device_module(device).get_device_name(device)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
