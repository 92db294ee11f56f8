"""Kernels of every instruction set that this processor runs, and Arm assembly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding

from mambair_cli.kernels import instruction_set
from mambair_cli.kernels.instruction_set import OTHER, Target

SUPPORT = Path(__file__).parents[1] / "support"
# What this processor must have, and another that has no more.
FORCED = {
    "AVX-512": ("avx512dq", "skylake-avx512", "+avx512f,+avx512vl,+avx512dq,+avx512bw,+avx2,+fma"),
    "AVX2": ("avx2", "haswell", "+avx2,+fma,-avx512f"),
    "scalar": ("sse2", "x86-64", "-avx512f,-avx2"),
}
HERE = binding.get_host_cpu_features()


def run(program: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, SUPPORT / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def checked(name: str, *arguments: str) -> str:
    """Check kernels of an instruction set; return which one they were made for."""
    needed, cpu, features = FORCED[name]
    if not HERE.get(needed, False):
        pytest.skip(f"this processor has no {needed}")
    forced = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    return run("scan_and_steps.py", *arguments, **forced).strip()


def test_avx2_computes_what_the_definition_says_on_any_processor():
    assert checked("AVX2", "scan") == "AVX2"


@pytest.mark.slow
@pytest.mark.parametrize("name", FORCED)
def test_every_instruction_set_computes_what_the_definitions_say(name):
    assert checked(name) == name


@pytest.mark.slow
def test_neon_is_compiled_to_its_own_instructions():
    assembly = run("neon_assembly.py")
    assert assembly.count("fmla") > 100
    called = set(re.findall(r"\tbl\t(\w+)", assembly))
    assert called <= {"memset"}


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ("+avx2,+avx512f,+avx512dq,+avx512vl", "AVX-512"),
        ("+avx2,+avx512f,-avx512dq", "AVX2"),
        ("-avx512f,+avx2", "AVX2"),
        ("+neon,+fp-armv8", "NEON"),
        ("", "scalar"),
    ],
)
def test_the_best_instruction_set_is_taken(features, name):
    assert Target("", "", features).instruction_set.name == name


def test_variables_of_numba_name_another_processor(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert instruction_set.target.__wrapped__().instruction_set == OTHER
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2")
    assert instruction_set.target.__wrapped__().instruction_set.name == "AVX2"
