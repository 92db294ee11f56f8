"""Image restoration with MambaIR: super-resolution, denoising, removal of JPEG artefacts.

    import mambair_cli as mambair

    model = mambair.load_model("mambair-tiny-sr-x4")
    restored = mambair.restore(image, model)
    better = mambair.fix(photograph)

Importing the package loads neither PyTorch nor Pillow; they come with the first function used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mambair_cli.errors import (
    BackendError,
    CheckpointError,
    ImageError,
    MambairError,
    MemoryLimitError,
    OutputError,
    RecipeError,
    UsageError,
)

if TYPE_CHECKING:
    from mambair_cli.api import fix, list_models, load_model, restore
    from mambair_cli.batches.models import Model
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.networks.spec import ModelSpec
else:
    _HOMES = {
        "CatalogueEntry": "mambair_cli.checkpoints.catalogue",
        "Model": "mambair_cli.batches.models",
        "ModelSpec": "mambair_cli.networks.spec",
        "fix": "mambair_cli.api",
        "list_models": "mambair_cli.api",
        "load_model": "mambair_cli.api",
        "restore": "mambair_cli.api",
    }

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "BackendError",
    "CatalogueEntry",
    "CheckpointError",
    "ImageError",
    "MambairError",
    "MemoryLimitError",
    "Model",
    "ModelSpec",
    "OutputError",
    "RecipeError",
    "UsageError",
    "fix",
    "list_models",
    "load_model",
    "restore",
]
