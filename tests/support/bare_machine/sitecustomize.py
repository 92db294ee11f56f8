"""Makes Python one of a machine with NVIDIA's packages: what the package also needs is missing."""

from __future__ import annotations

from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

MISSING = {
    "cffi", "httpx", "httpx2", "huggingface_hub", "hypothesis", "imagecodecs", "jsonschema",
    "pi_heif", "pillow_heif", "pillow_jxl", "platformdirs", "psutil", "pyiqa", "pyvips", "ray",
    "xdist",
}  # fmt: skip
_find = PathFinder.find_spec


def _find_what_is_there(_finder: type, name: str, *where: Any) -> ModuleSpec | None:
    return None if name.partition(".")[0] in MISSING else _find(name, *where)


PathFinder.find_spec = classmethod(_find_what_is_there)  # type: ignore[assignment]
