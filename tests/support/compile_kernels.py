"""Compiles Triton kernels for GPUs that are not here: run with a list of them in JSON.

Each is an object with `module`, `kernel`, `types` and `constants` of its parameters, `warps` and a
`target` of backend, architecture and warp size. Writes what became of each: registers, bytes that
spilled, and how often each width of global loads and stores occurs (all only for CUDA).
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

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def compiled(case: dict) -> triton.compiler.CompiledKernel:
    kernel = getattr(importlib.import_module(case["module"]), case["kernel"])
    pointers = [i for i, kind in enumerate(case["types"].values()) if kind.startswith("*")]
    source = ASTSource(
        fn=kernel,
        signature=case["types"],
        constexprs=case["constants"],
        attrs={(i,): [["tt.divisibility", 16]] for i in pointers},
    )
    return triton.compile(
        source, target=GPUTarget(*case["target"]), options={"num_warps": case["warps"]}
    )


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
