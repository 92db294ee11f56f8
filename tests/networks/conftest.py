"""Parameters and published outputs of the golden networks, and how results are compared."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def unit_uniform(name: str, count: int) -> np.ndarray:
    """Float64 values in [0, 1), a splitmix64 stream keyed by the CRC-32 of `name`."""
    with np.errstate(over="ignore"):
        z = np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        z = (z + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seeded_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter that a golden network had under `name`, a pure function of name and shape.

    The golden files hold inputs and outputs only: nothing large has to be stored, and nothing
    depends on a library's random numbers.
    """
    u = unit_uniform(name, math.prod(shape)).reshape(shape)
    noise = (2.0 * u - 1.0) * math.sqrt(3.0)  # zero mean, unit variance
    scale_of_one = len(shape) == 1 and name.endswith("weight")
    if name.endswith("A_logs"):
        value = np.log(np.arange(1, shape[-1] + 1)) + 0.2 * noise
    elif name.endswith("dt_projs_bias"):  # inverse softplus of a step in [0.001, 0.1]
        step = np.exp(u * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        value = step + np.log(-np.expm1(-step))
    elif name.endswith(".Ds") or "skip_scale" in name or scale_of_one:
        value = 1.0 + 0.2 * noise
    elif len(shape) == 1:
        value = 0.1 * noise
    else:
        fan_in = shape[-1] if len(shape) < 4 else math.prod(shape[1:])
        value = noise / math.sqrt(fan_in)
    return value.astype(np.float32)


@pytest.fixture(scope="session")
def golden_files() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def seeded() -> Callable[[nn.Module], nn.Module]:
    """Gives a module the parameters of the golden networks, strictly, in evaluation mode."""

    def load(module: nn.Module) -> nn.Module:
        state = {
            name: torch.from_numpy(seeded_tensor(name, tuple(tensor.shape)))
            for name, tensor in module.state_dict().items()
        }
        module.load_state_dict(state, strict=True)
        return module.eval()

    return load
