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
TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
TAKEN = ("InterpolationMode", "normalize", "rotate")


def _imported() -> ModuleType:
    """spandrel, also where torchvision is missing, or of another build than torch."""
    try:
        return importlib.import_module("spandrel")
    except (ImportError, RuntimeError, OSError):
        stand_ins = {name: ModuleType(name) for name in TORCHVISION}
    for name in TAKEN:
        setattr(stand_ins[TORCHVISION[-1]], name, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "spandrel"]:
        del sys.modules[name]
    # While it is imported only: nothing else is to take them for torchvision.
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stand_ins.items():
            patch.setitem(sys.modules, name, module)
        return importlib.import_module("spandrel")


@pytest.fixture(scope="session")
def spandrel() -> ModuleType:
    """spandrel; tests that ask for it are skipped where it is not installed."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("needs the extra: pip install 'mambair[spandrel]'")
    return _imported()


@pytest.fixture
def registry(spandrel: ModuleType) -> Iterator[Any]:
    """spandrel's main registry, as it was before."""
    before = spandrel.MAIN_REGISTRY.copy()
    yield spandrel.MAIN_REGISTRY
    vars(spandrel.MAIN_REGISTRY).update(vars(before))
