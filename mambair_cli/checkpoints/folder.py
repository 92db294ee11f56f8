"""The configuration beside weights, as huggingface_hub's PyTorchModelHubMixin writes it."""

from __future__ import annotations

import json
import reprlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mambair_cli.checkpoints.header import name_of, require_positive
from mambair_cli.checkpoints.reference import CONFIG, is_of_folder
from mambair_cli.errors import CheckpointError
from mambair_cli.networks.spec import NetworkConfig

LARGEST_CONFIG = 2**20
# What has no effect on a network that does not enlarge, and stands at the default of its authors.
_IDLE = "upscale"


def stated_beside(path: Path, detected: NetworkConfig) -> dict[str, Any]:
    """Read what the configuration beside a weights file states of its network.

    Args:
        path: The weights file.
        detected: The network that it holds.

    Returns:
        Field of the configuration to value; keys that no field has are left out. Nothing where
        there is no configuration, or the file is of no such folder.

    Raises:
        CheckpointError: It cannot be read, or names another network.
    """
    place = path.parent / CONFIG
    if not (is_of_folder(path) and place.is_file()):
        return {}
    values = _read(place)
    named, network = values.get("network"), name_of(detected)
    if named not in (None, network):
        raise CheckpointError(
            f"{CONFIG} is of the network {reprlib.repr(named)}, but the tensors are of {network}",
            _mend(place),
        )
    known = asdict(detected)
    if known.get("upsampler") == "":
        del known[_IDLE]
    stated = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if key in known
    }
    for name in ("mlp_ratio", "img_range"):
        if name in stated:
            require_positive(stated[name], f"{CONFIG}: {name}", _mend(place))
    return stated


def _mend(place: Path) -> str:
    return f"correct or remove {place}"


def _read(place: Path) -> dict[str, Any]:
    hint = _mend(place)
    try:
        if place.stat().st_size > LARGEST_CONFIG:
            raise CheckpointError(f"{CONFIG} is too large for a configuration", hint)
        values = json.loads(place.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{CONFIG} cannot be read: {error.strerror or error}", hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{CONFIG} is not JSON: {error}", hint) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{CONFIG} is not a JSON object: {reprlib.repr(values)}", hint)
    return values
