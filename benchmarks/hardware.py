"""What a measurement was made on: the commit and the machine."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def describe_commit() -> str:
    """The commit, with `+` where the working tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../mambair_cli")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def describe_cpu() -> dict[str, object]:
    """Processor, instruction set, threads, and the versions that matter."""
    import numba
    import torch

    from mambair_cli.kernels.instruction_set import target

    kernels, cpuinfo = target(), Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return {
        "cpu": fields.get("model name", platform.processor()),
        "family_model": f"{fields.get('cpu family')}/{fields.get('model')}",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "kernels": f"{kernels.instruction_set.name} ({kernels.cpu})",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
    }
