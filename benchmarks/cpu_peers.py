"""Times whole networks beside SwinIR of the same class, on every instruction set of this CPU.

    python benchmarks/cpu_peers.py [--runs 3] [--networks light,...] [--skip-reference]

One 64x64 tile, one thread, frozen random weights, networks of a class in turns: wall and processor
seconds of each run. SwinIR is spandrel's (`pip install spandrel`). Instruction sets are forced on
kernels, MKL, oneDNN and ATen alike. The published code is our networks with the reference scan, run
once. Writes benchmarks/results/cpu_peers.json, anew after each network: what was measured before
the script ends, or is ended, is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import cpu_network
import torch
from hardware import describe_commit, describe_cpu
from llvmlite import binding

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.precision import computing_in, resolve_precision
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.allocator import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "cpu_peers.json"
# What each library calls the sets, the best one first.
FORCED = {
    "AVX-512": {},
    "AVX2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+f16c,-avx512f",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}
NETWORKS = {
    "tiny": MambaIRConfig(embed_dim=40, d_state=6, depths=(3, 3)),
    **cpu_network.NETWORKS,
    "unet": MambaIRUNetConfig(),
}
SWINIR = {
    "light": {
        "upscale": 4, "embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4,
        "upsampler": "pixelshuffledirect",
    },
    "classic": {
        "upscale": 4, "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6,
        "upsampler": "pixelshuffle",
    },
    "denoise": {
        "upscale": 1, "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "upsampler": "",
    },
}  # fmt: skip
ONCE = ("light", "classic")
Run = Callable[[], object]


def _swinir() -> Any:
    """The class of SwinIR; without the rest of spandrel, which needs torchvision."""
    if (spec := find_spec("spandrel")) is None:
        return None
    (folder,) = spec.submodule_search_locations or ()
    path, name = Path(folder), "spandrel"
    for part in ("", "architectures", "SwinIR"):
        path, name = path / part, f"{name}.{part}".rstrip(".")
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return import_module("spandrel.architectures.SwinIR.__arch.SwinIR").SwinIR


def networks() -> dict[str, torch.nn.Module]:
    """Ours, on the kernels, and SwinIR where spandrel is installed."""
    torch.manual_seed(0)
    made = {name: build_network(config) for name, config in NETWORKS.items()}
    for network in made.values():
        set_scan_backend(network, "numba")
    if (swinir := _swinir()) is None:
        print("spandrel is not installed: without SwinIR", file=sys.stderr)
    else:
        common = {"img_size": 64, "window_size": 8, "mlp_ratio": 2, "resi_connection": "1conv"}
        made |= {f"SwinIR {name}": swinir(**common, **own) for name, own in SWINIR.items()}
    return {name: network.eval().requires_grad_(False) for name, network in made.items()}


def runs_of(made: dict[str, torch.nn.Module], tile: torch.Tensor) -> dict[str, Run]:
    """What is timed: every network, the large ones also in bf16 where the processor has it."""
    cpu = torch.device("cpu")
    runs: dict[str, Run] = {name: lambda n=network: n(tile) for name, network in made.items()}
    try:
        resolve_precision("bf16", cpu)
    except Exception:  # noqa: BLE001 - without bf16
        return runs
    for name in ("classic", "base v2", "SwinIR classic"):
        if name in made:
            half = with_half_weights(made[name], torch.bfloat16, frozen_state(made[name]))

            def run(network: torch.nn.Module = half) -> object:
                with computing_in("bf16", cpu):
                    return network(tile)

            runs[f"{name} bf16"] = run
    return runs


def timed(run: Run) -> tuple[float, float]:
    """Wall and processor seconds of one run."""
    start, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - used


def row_of(times: list[tuple[float, float]]) -> dict[str, float]:
    """What is written of the runs of one network."""
    wall, processor = zip(*times, strict=True)
    return {
        "seconds": round(statistics.median(wall), 3),
        "fastest": round(min(wall), 3),
        "slowest": round(max(wall), 3),
        "processor": round(statistics.median(processor), 3),
    }


def beside_swinir(rows: dict[str, dict[str, float]]) -> None:
    """Add to the rows of networks how much processor time they take over SwinIR of their class."""
    for name, row in rows.items():
        if peer := rows.get(f"SwinIR {name}"):
            row["over SwinIR"] = round(row["processor"] / peer["processor"], 2)


@torch.inference_mode()
def measure(rounds: int, wanted: list[str], published: list[str]) -> Iterator[dict[str, object]]:
    """Time what is wanted, or everything, on the instruction set of this process.

    Yields:
        What is known after each class of networks: ours and SwinIR in turns, then the published
        code where that is asked for.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    # What is made of parameters is kept for those that were not made in inference mode.
    with torch.inference_mode(mode=False):
        made, tile = networks(), torch.rand(1, 3, 64, 64)
    runs = runs_of(made, tile)
    if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        runs = {name: run for name, run in runs.items() if not name.endswith("bf16")}
    rows: dict[str, dict[str, float]] = {}
    known = {"hardware": describe_cpu(), "networks": rows}
    for name in [name for name in NETWORKS if not wanted or name in wanted]:
        together = {each: run for each, run in runs.items() if name in (each, *_classes(each))}
        for run in together.values():
            run()
        taken: dict[str, list[tuple[float, float]]] = {each: [] for each in together}
        for _ in range(rounds):
            for each, run in together.items():
                taken[each].append(timed(run))
        rows |= {each: row_of(times) for each, times in taken.items()}
        beside_swinir(rows)
        yield known
    for name in published:
        set_scan_backend(made[name], "reference")
        _, processor = timed(runs[name])
        rows[name]["published code"] = round(processor, 2)
        rows[name]["ratio"] = round(processor / rows[name]["processor"], 1)
        yield known


def _classes(name: str) -> tuple[str, ...]:
    """Name the networks that one is timed beside: SwinIR and bf16 beside those of their class."""
    plain = name.removesuffix(" bf16")
    return plain, plain.removeprefix("SwinIR ")


def main() -> None:
    """Runs a process for each instruction set and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--networks", default="", help="by default all")
    parser.add_argument("--skip-reference", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wanted = [name for name in arguments.networks.split(",") if name]
    published = [name for name in ONCE if not wanted or name in wanted]
    if arguments.here:
        once = [] if arguments.skip_reference else published
        for known in measure(arguments.runs, wanted, once):
            print(json.dumps(known), flush=True)
        return
    result: dict[str, object] = {"commit": describe_commit(), "tile": "1x3x64x64"}
    has_avx512 = bool(binding.get_host_cpu_features().get("avx512f"))
    for number, (name, variables) in enumerate(FORCED.items()):
        if name == "AVX-512" and not has_avx512:
            continue
        words = [sys.executable, __file__, "--here", "--runs", str(arguments.runs)]
        words += ["--networks", arguments.networks]
        # The published code takes minutes, once is enough.
        if arguments.skip_reference or (number and has_avx512):
            words.append("--skip-reference")
        with subprocess.Popen(  # noqa: S603
            words, stdout=subprocess.PIPE, text=True, env=os.environ | variables
        ) as process:
            for line in process.stdout or ():
                result[name] = json.loads(line)
                RESULT.write_text(json.dumps(result, indent=1) + "\n")
        if process.returncode:
            sys.exit(process.returncode)
        print(json.dumps({name: result[name]}, indent=1), flush=True)
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
