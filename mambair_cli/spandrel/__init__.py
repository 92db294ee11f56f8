"""MambaIR for programs that load weights with spandrel: ComfyUI, chaiNNer and others.

import mambair_cli.spandrel
from spandrel import ModelLoader

mambair_cli.spandrel.install()
model = ModelLoader(device="cuda").load_from_file("MambaIR_SR4.pth")
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from mambair_cli.errors import BackendError

LEAST_VERSION = (0, 4)

__all__ = ["install"]


def install(registry: Any = None) -> list[str]:
    """Have spandrel recognise and load MambaIR, its U-Net and MambaIRv2.

    Doing it again changes nothing.

    Args:
        registry: A `spandrel.ArchRegistry`; None for `spandrel.MAIN_REGISTRY`, where every
            `ModelLoader` looks that was given no registry of its own.

    Returns:
        Ids of the architectures that were added; none where they were there.

    Raises:
        BackendError: spandrel is not installed, too old, or cannot be imported.
    """
    main = _imported().MAIN_REGISTRY
    from mambair_cli.spandrel.architectures import SUPPORTED

    added = (main if registry is None else registry).add(*SUPPORTED, ignore_duplicates=True)
    return [str(support.architecture.id) for support in added]


def _imported() -> ModuleType:
    try:
        import spandrel
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the package {error.name} is not installed",
            "install it: pip install 'mambair[spandrel]'",
        ) from error
    # What Python says of extensions that do not fit: torchvision's, of another build than torch.
    except (ImportError, RuntimeError, OSError) as error:
        raise BackendError(
            f"spandrel cannot be imported: {' '.join(str(error).split())}",
            "install torch and torchvision together, from one index; docs/spandrel.md says how",
        ) from error
    version = getattr(spandrel, "__version__", "of no version")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < LEAST_VERSION:
        raise BackendError(
            f"spandrel {version} is too old, {LEAST_VERSION[0]}.{LEAST_VERSION[1]} is needed",
            "update it: pip install --upgrade 'mambair[spandrel]'",
        )
    module: ModuleType = spandrel
    return module
