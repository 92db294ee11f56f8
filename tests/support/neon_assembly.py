"""Prints the forward scan as an Arm processor's assembly, compiled from any other processor.

Numba compiles for processors of its own architecture only, so the kernel is laid out for NEON, and
LLVM makes assembly of what Numba made of it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import import_module

from llvmlite import binding

from mambair_cli.kernels import instruction_set

ARM = "aarch64-unknown-linux-gnu"


def without_processor(text: str) -> str:
    """LLVM's text of a module, for Arm and with nothing that names another processor."""
    text = re.sub(r"^target datalayout = .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^target triple = .*$", f'target triple = "{ARM}"', text, flags=re.MULTILINE)
    return re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", text)


def main() -> None:
    """Compile and print."""
    os.environ |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    arm = replace(instruction_set.target(), features="+neon")
    instruction_set.target = lambda: arm  # before kernels are laid out
    import numba

    kernel = import_module("mambair_cli.kernels.scan.numba_forward").scan_forward
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    (compiled,) = numba.njit(kernel.signature, _nrt=False, **options)(kernel).overloads.values()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(without_processor(compiled.library.get_llvm_str()))
    machine = binding.Target.from_triple(ARM).create_target_machine("apple-m1", opt=3)
    print(machine.emit_assembly(module))  # noqa: T201


if __name__ == "__main__":
    main()
