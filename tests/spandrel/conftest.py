"""The real spandrel where it is installed, whichever torchvision is there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

# What spandrel asks torchvision for, to turn and normalise images around two of its networks.
TORCHVISION = {"torchvision", "torchvision.transforms", "torchvision.transforms.functional"}


def _stand_in_for_torchvision() -> None:
    """Let spandrel be imported where torchvision is missing, or of another build than torch."""
    try:
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError, OSError):
        for name in sorted(TORCHVISION):
            sys.modules[name] = ModuleType(name)
        for taken in ("InterpolationMode", "normalize", "rotate"):
            setattr(sys.modules[name], taken, None)


@pytest.fixture(scope="session")
def spandrel() -> ModuleType:
    """spandrel; tests that ask for it are skipped where it is not installed."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("needs the extra: pip install 'mambair[spandrel]'")
    _stand_in_for_torchvision()
    return importlib.import_module("spandrel")


@pytest.fixture
def registry(spandrel: ModuleType) -> Iterator[Any]:
    """spandrel's main registry, as it was before."""
    before = spandrel.MAIN_REGISTRY.copy()
    yield spandrel.MAIN_REGISTRY
    vars(spandrel.MAIN_REGISTRY).update(vars(before))
