"""Makes Python one of a machine with NVIDIA's packages.

What the package also needs is missing there, and the package itself is not installed: it is found
only where a program adds its folder to the path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

PACKAGE = "mambair_cli"
MISSING = {
    "cffi", "httpx", "httpx2", "huggingface_hub", "hypothesis", "imagecodecs", "jsonschema",
    "pi_heif", "pillow_heif", "pillow_jxl", "platformdirs", "psutil", "pyiqa", "pyvips", "ray",
    "xdist",
}  # fmt: skip
_find = PathFinder.find_spec


def _find_what_is_there(
    _finder: type, name: str, path: Sequence[str] | None = None, target: Any = None
) -> ModuleSpec | None:
    if name.partition(".")[0] in MISSING:
        return None
    if name == PACKAGE:
        path = [entry for entry in sys.path if entry not in _installed]
    return _find(name, path, target)


# A copy that is installed as it stands.
sys.path[:] = [entry for entry in sys.path if not Path(entry, "pyproject.toml").exists()]
_installed = set(sys.path)
PathFinder.find_spec = classmethod(_find_what_is_there)  # type: ignore[assignment]
