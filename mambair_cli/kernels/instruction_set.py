"""For which processor kernels are compiled, and how they are laid out for its instruction set.

`NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` name another one than this machine's, as they do for
Numba: a processor with AVX-512 can run, and time, what one with AVX2 gets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding


@dataclass(frozen=True)
class InstructionSet:
    """How kernels use vector registers.

    Attributes:
        name: For people.
        feature: LLVM's name of what a processor must have.
        lanes: Float32 values of one vector.
        masked: Whether loads and stores of a part of a vector cost no more than whole ones.
        rows: Of a matrix product's block whose sums, by two vectors, stay in registers.
        powers: Whether one instruction multiplies by powers of two, and one takes fractions.
    """

    name: str
    feature: str
    lanes: int
    masked: bool
    rows: int
    powers: bool


# The best one first. Whatever has none of these gets vectors that LLVM takes apart. On AMD's
# processors with AVX2 masked stores are slow; Arm's NEON has none.
INSTRUCTION_SETS = (
    InstructionSet("AVX-512", "avx512dq", 16, masked=True, rows=12, powers=True),
    InstructionSet("AVX2", "avx2", 8, masked=False, rows=6, powers=False),
    InstructionSet("NEON", "neon", 8, masked=False, rows=6, powers=False),
)
OTHER = InstructionSet("scalar", "", 8, masked=False, rows=6, powers=False)


@dataclass(frozen=True)
class Target:
    """A processor as LLVM knows it.

    Attributes:
        triple: Architecture and system.
        cpu: Name of the processor.
        features: What it can do, `+avx2,-avx512f,...`.
    """

    triple: str
    cpu: str
    features: str

    @property
    def instruction_set(self) -> InstructionSet:
        """The best of the table that the processor has."""
        present = self.features.split(",")
        return next((each for each in INSTRUCTION_SETS if f"+{each.feature}" in present), OTHER)

    def machine(self) -> Any:
        """Make LLVM's machine that code for this process is made with, and loaded by."""
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        here = binding.Target.from_triple(self.triple)
        return here.create_target_machine(self.cpu, self.features, jit=True)


@cache
def target() -> Target:
    """Find the processor that kernels of this process are compiled for."""
    cpu = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if cpu == "generic" else _host_features()
    return Target(binding.get_process_triple(), cpu, features)


def _host_features() -> str:
    try:
        return str(binding.get_host_cpu_features().flatten())
    except RuntimeError:  # LLVM does not know this processor
        return ""
