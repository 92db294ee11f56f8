"""Reads compiled GPU kernels: resources, and the instructions of the loops by unit."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import triton

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
EXPONENTIAL = "MUFU.EX2"
# Which unit executes an opcode, the first pattern that matches; the rest only costs its issue.
UNITS = (
    ("special function", r"MUFU|I2F|F2I|F2F|I2I"),
    ("float32", r"FFMA|FMUL|FADD|HFMA2|HADD2|HMUL2"),
    ("integer multiply", r"IMAD|IDP"),
    ("memory", r"LDG|STG|LDL|STL|LD\.|ST\.|RED|ATOM"),
    ("shared memory", r"LDS|STS|LDSM"),
    ("shuffle", r"SHFL"),
    ("barrier", r"BAR|WARPSYNC|BSYNC|BSSY"),
    (
        "integer",
        r"IADD|LOP|SHF|LEA|ISETP|SEL|FSEL|FSETP|FMNMX|PRMT|MOV|IMNMX|VI|PLOP|IABS|F2FP|CS2R|P2R",
    ),
)
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")


@dataclass(frozen=True)
class Loop:
    """A loop of a kernel: what lies between a backward branch and its target.

    Attributes:
        instructions: In one iteration.
        opcodes: How many of each.
    """

    instructions: int
    opcodes: Counter[str]

    @property
    def units(self) -> dict[str, int]:
        """Instructions of one iteration by the unit that executes them."""
        counts = Counter[str]()
        for opcode, count in self.opcodes.items():
            found = (unit for unit, pattern in UNITS if re.match(pattern, opcode))
            counts[next(found, "other")] += count
        return dict(counts.most_common())


def loops_of(cubin: bytes) -> list[Loop]:
    """Finds the loops in the machine code of one kernel, those with most exponentials first."""
    code = [
        (int(address, 16), opcode, operands)
        for address, opcode, operands in _INSTRUCTION.findall(_run("cuobjdump", "-sass", cubin))
    ]
    loops = []
    for address, opcode, operands in code:
        target = re.search(r"0x([0-9a-f]+)", operands)
        # A branch to itself ends every kernel.
        if opcode.startswith("BRA") and target and int(target.group(1), 16) < address:
            start = int(target.group(1), 16)
            body = [name for at, name, _ in code if start <= at <= address]
            loops.append(Loop(len(body), Counter(body)))
    return sorted(loops, key=lambda x: (-x.opcodes[EXPONENTIAL], x.instructions))


def resources_nvidia(cubin: bytes) -> dict[str, int]:
    """Registers of a thread, bytes of its stack and spills, shared memory of a program."""
    usage = dict(
        re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", _run("cuobjdump", "-res-usage", cubin))
    )
    return {
        "registers": int(usage["REG"]),
        "stack_bytes": int(usage["STACK"]),
        "local_bytes": int(usage["LOCAL"]),
        "shared_bytes": int(usage["SHARED"]),
    }


def resources_amd(assembly: str) -> dict[str, int]:
    """Registers and spills of a kernel for an AMD GPU."""
    wanted = ("vgpr_count", "sgpr_count", "vgpr_spill_count", "sgpr_spill_count")
    found = dict(re.findall(r"\.(\w+):\s+(\d+)", assembly))
    return {name: int(found[name]) for name in wanted if name in found}


def _run(tool: str, option: str, cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(  # noqa: S603
            [str(TOOLS / tool), option, file.name], capture_output=True, text=True, check=True
        )
    return done.stdout
