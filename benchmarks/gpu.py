"""Proves and measures the GPU engine in one call; benchmarks/README.md says how to prepare it.

    python benchmarks/gpu.py [--name h200] [--images DIR] [--budget-s 560]
    python benchmarks/gpu.py --device cpu --quick        # the same code on toy sizes, no figures

Every step runs in a process of its own, most important first: one that crashes, hangs or leaves the
device unusable loses nothing of the others. The result is written after each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_summary import summary
from hardware import describe_commit

HERE = Path(__file__).resolve().parent
BUILD_SECONDS = 150  # that are waited for the build, after what ran beside it
FAILED, LATE, DONE = "failed", "no time left", "done"


@dataclass(frozen=True)
class Step:
    """A part of the benchmark.

    Attributes:
        kind: What is done, a key of `run_step`'s table.
        case: On which network, where it is about one.
        limit: Seconds after which it is stopped.
        waits: Whether the kernel to compare with must have been built: it is used, or the time
            that launching takes is measured.
    """

    kind: str
    case: str = ""
    limit: int = 60
    waits: bool = True

    @property
    def name(self) -> str:
        """Key of its result."""
        return f"{self.kind} {self.case}".strip()


STEPS = (
    Step("ceilings", limit=60, waits=False),
    Step("quality", limit=40, waits=False),
    Step("tests", limit=150, waits=False),
    Step("scans", limit=90),
    Step("networks", limit=60),
    Step("whole", "classic_x4", 60),
    Step("peers", "classic_x4", 75),
    Step("stages", "classic_x4", 40),
    Step("whole", "light_x4", 45),
    Step("peers", "light_x4", 60),
    Step("tiles", "classic_x4", 45),
    Step("footprint", "classic_x4", 30),
    Step("whole", "denoise_colour", 60),
    Step("whole", "denoise_real_unet", 60),
    Step("stages", "light_x4", 30),
    Step("peers", "denoise_colour", 75),
    Step("peers", "denoise_real_unet", 75),
    Step("stages", "denoise_colour", 40),
    Step("stages", "denoise_real_unet", 40),
    Step("tiles", "light_x4", 30),
    Step("tiles", "denoise_colour", 60),
    Step("tiles", "denoise_real_unet", 60),
    Step("footprint", "denoise_real_unet", 40),
)


def run_step(step: Step, folder: Path, arguments: argparse.Namespace) -> None:
    """Runs a step in this process and writes `folder/NAME.json`."""
    import gpu_correctness
    import gpu_peers
    import gpu_speed
    from gpu_cases import case_of
    from gpu_measure import Report

    device, quick = torch.device(arguments.device), arguments.quick
    report = Report(folder / f"{step.name}.json")
    if step.case:
        case = case_of(step.case, quick=quick)
        if step.kind == "stages":
            known = folder / "ceilings.json"
            ceilings = json.loads(known.read_text()) if known.exists() else {}
            gpu_speed.stages(report, device, case, ceilings)
        else:
            run = {
                "whole": gpu_speed.whole,
                "tiles": gpu_speed.tiles,
                "footprint": gpu_speed.footprint,
                "peers": gpu_peers.step,
            }
            run[step.kind](report, device, case)
    elif step.kind == "ceilings":
        import gpu_ceilings

        gpu_ceilings.step(report, device, quick=quick)
    elif step.kind == "tests":
        gpu_correctness.test_suite(report, quick=quick, seconds=step.limit - 5)
    elif step.kind == "quality":
        gpu_correctness.quality(report, device, quick=quick, directory=arguments.images)
    else:
        if device.type == "cuda":
            gpu_peers.install(device)  # one more backend of the scan
        run_all = {"scans": gpu_correctness.scans, "networks": gpu_correctness.networks}
        run_all[step.kind](report, device, quick=quick)


def watch_step(
    step: Step, folder: Path, options: list[str], environment: dict[str, str], seconds: float
) -> dict[str, Any]:
    """Runs a step in a process of its own for at most `seconds`, and collects what it wrote."""
    command = [sys.executable, __file__, *options, "--step", step.name, "--folder", str(folder)]
    start = time.perf_counter()
    outcome: dict[str, Any] = {"outcome": DONE}
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        (folder / f"{step.name}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            outcome = {"outcome": FAILED, "error": last[:400]}
    except subprocess.TimeoutExpired:
        outcome = {"outcome": FAILED, "error": f"stopped after {seconds:.0f} s"}
    written = folder / f"{step.name}.json"
    figures = json.loads(written.read_text()) if written.exists() else {}
    return outcome | {"took_s": round(time.perf_counter() - start, 1), "figures": figures}


def start_build(folder: Path) -> subprocess.Popen[bytes]:
    """Starts to build the kernel to compare with, beside steps that do not mind."""
    with (folder / "build.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, str(HERE / "gpu_peers.py")],
            stdout=log,
            stderr=log,
        )


def end_build(builder: subprocess.Popen[bytes], folder: Path) -> dict[str, object]:
    """Waits for the build for a while; without it the steps that need it say so."""
    try:
        status = builder.wait(timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        builder.kill()
        status = builder.wait()
    lines = (folder / "build.log").read_text(errors="replace").strip().splitlines()
    return {"exit_status": status, "end_of_log": lines[-3:] if status else []}


def environment_of(device: torch.device) -> dict[str, Any]:
    """The machine: GPU, driver, clocks as they are, versions."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu_threads": os.cpu_count(),
    }
    try:
        import triton

        found["triton"] = triton.__version__
    except ImportError:
        found["triton"] = None
    if device.type != "cuda":
        return found
    properties = torch.cuda.get_device_properties(device)
    query = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    asked = subprocess.run(  # noqa: S603
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return found | {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "L2_MiB": properties.L2_cache_size / 2**20,
        "memory_MiB": properties.total_memory // 2**20,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        query: asked.stdout.strip(),
    }


def commit() -> str:
    """The commit, where the copy that runs is a repository."""
    try:
        return describe_commit()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown: give --commit"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--name", help="names the result, gpu_NAME.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="toy sizes; no figures")
    parser.add_argument("--images", type=Path, help="high-resolution images; default: samples")
    parser.add_argument("--budget-s", type=float, default=560, help="seconds in all")
    parser.add_argument("--only", default="", help="kinds of steps or steps, comma-separated")
    parser.add_argument("--commit", help="which commit this copy is")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Runs all steps that the time allows, writes the result, prints a short table."""
    arguments = parse()
    if arguments.step:
        step = next(step for step in STEPS if step.name == arguments.step)
        run_step(step, arguments.folder, arguments)
        return
    started = time.perf_counter()
    device = torch.device(arguments.device)
    result: dict[str, Any] = {
        "commit": arguments.commit or commit(),
        "environment": environment_of(device),
        "steps": {},
    }
    name = arguments.name or result["environment"].get("gpu", "dry run").replace(" ", "_").lower()
    target = Path(os.environ.get("OUT") or HERE / "results") / f"gpu_{name}.json"
    options = ["--device", arguments.device, *(["--quick"] if arguments.quick else [])]
    options += ["--images", str(arguments.images)] if arguments.images else []
    wanted = set(arguments.only.split(",")) if arguments.only else None
    with tempfile.TemporaryDirectory() as folder:
        builder = start_build(Path(folder)) if device.type == "cuda" else None
        for step in STEPS:
            if wanted and not wanted & {step.kind, step.name}:
                continue
            if step.waits and builder is not None:
                result["build"] = end_build(builder, Path(folder))
                builder = None
            left = arguments.budget_s - (time.perf_counter() - started)
            if left < 10:
                result["steps"][step.name] = {"outcome": LATE, "figures": {}}
                continue
            limit = min(step.limit * (1 if device.type == "cuda" else 5), left)
            environment = dict(os.environ)
            if device.type == "cpu" and step.kind in ("ceilings", "scans"):
                environment["TRITON_INTERPRET"] = "1"
            outcome = watch_step(step, Path(folder), options, environment, limit)
            result["steps"][step.name] = outcome
            print(f"{step.name}: {outcome['outcome']}, {outcome['took_s']} s", flush=True)
            target.write_text(json.dumps(result, indent=1) + "\n")
    print("\n" + summary(result))
    print(f"\nwritten to {target}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
