"""What another library makes of torch's defaults for the whole process changes no result."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import mambair_cli as mambair

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 26, 3), np.uint8)
ID = "mambair-tiny-sr-x2"


@pytest.fixture
def usual() -> Iterator[None]:
    """Puts the defaults back."""
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("default", [torch.float64, torch.float16, torch.bfloat16, "meta"])
def test_defaults_of_the_process_change_nothing(default):
    before = mambair.load_model(ID, device="cpu")
    right = mambair.restore(IMAGE, before, tile=16)
    set_default = torch.set_default_device if default == "meta" else torch.set_default_dtype
    set_default(default)
    now = mambair.load_model(ID, device="cpu")
    for model in (before, now):
        assert np.array_equal(mambair.restore(IMAGE, model, tile=16), right)
