"""Small networks and their weights, for every test of weights files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mambair_cli.networks import MambaIRConfig, build_network


@pytest.fixture(scope="session")
def config() -> MambaIRConfig:
    return MambaIRConfig(upscale=2, embed_dim=12, d_state=4, depths=(1,), mlp_ratio=1.5)


@pytest.fixture(scope="session")
def state(config: MambaIRConfig) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return build_network(config).state_dict()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes an object with torch.save under a name; returns the path."""

    def save(content: object, name: str = "weights.pth", **options: bool) -> Path:
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save
