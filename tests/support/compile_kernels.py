"""Compiles launches of Triton kernels for a GPU that is not here: run with a list of them in JSON.

Each is an object with `module` and `kernel`, `arguments` in order (numbers, null, or the type of a
tensor such as `bfloat16`), `constants` with those of the launch, and `target`: backend,
architecture, warp size. Writes what became of each: registers, bytes that spilled, and how often
each width of global loads and stores occurs (CUDA only).
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def described(
    kernel: object, arguments: tuple[object, ...], constants: dict[str, object]
) -> dict[str, object]:
    """A launch as one object of the list, but for its target."""
    return {
        "module": kernel.fn.__module__,
        "kernel": kernel.fn.__name__,
        "arguments": [
            str(value.dtype).removeprefix("torch.") if isinstance(value, torch.Tensor) else value
            for value in arguments
        ],
        "constants": constants,
    }


class Driver:
    """Stands in for a device's driver: enough for a launch up to the point where it would run."""

    def __init__(self, target: GPUTarget) -> None:
        self.get_current_target = lambda: target
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda _: 0


def compiled(case: dict) -> triton.compiler.CompiledKernel:
    kernel = getattr(importlib.import_module(case["module"]), case["kernel"])
    triton.runtime.driver.set_active(Driver(GPUTarget(*case["target"])))
    arguments = (
        getattr(torch, value) if isinstance(value, str) else value for value in case["arguments"]
    )
    return kernel.warmup(*arguments, grid=(1,), **case["constants"])


def inspected(cubin: bytes) -> dict:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (
            subprocess.run(
                [str(TOOLS / tool), *options, file.name], capture_output=True, text=True, check=True
            ).stdout
            for tool, options in (("cuobjdump", ["--dump-resource-usage"]), ("nvdisasm", []))
        )
    (numbers,) = re.findall(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", usage)
    registers, *spilled = (int(number) for number in numbers)
    accesses = re.findall(r"\b(LDG|STG)\.E(?:\.(64|128|U16|S16|U8|16))?", code)
    widths = Counter(f"{access} {width or '32'}" for access, width in accesses)
    return {"registers": registers, "spilled": sum(spilled), "accesses": widths}


def main() -> None:
    results = []
    for case in json.load(sys.stdin):
        kernel = compiled(case)
        results.append(inspected(kernel.asm["cubin"]) if "cubin" in kernel.asm else {})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
