"""The published networks: configurations and tensors of all, outputs of small ones."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from mambair_cli.networks import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "golden"
FULL_SIZE = json.loads(lzma.decompress((DATA / "full_size_tensors.json.xz").read_bytes()))
SMALL = json.loads((GOLDEN / "networks.json").read_text())
KINDS = {
    "MambaIR": (MambaIRConfig, {}),
    "MambaIRUNet": (MambaIRUNetConfig, {}),
    "MambaIRv2": (MambaIRv2Config, {"light": False}),
    "MambaIRv2Light": (MambaIRv2Config, {"light": True}),
}


def config_of(entry):
    """Gives the configuration of an entry; options of the published code that change nothing go."""
    kind, own = KINDS[entry["network"]]
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["config"].items()
        if key in kind.__dataclass_fields__
    }
    return kind(**values, **own)
