"""What tests share: no network unless marked `network`, where kernels run, one error measure."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

# Triton decides between compiler and interpreter where a kernel is defined: before any test.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


class NetworkBlockedError(RuntimeError):
    """A test opened a connection without the `network` marker."""


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every internet connection fail, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            raise NetworkBlockedError(f"connection to {address!r} in a test without network marker")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    """Where Triton kernels are tested: compiled on a GPU if there is one, else interpreted."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def relative_rms() -> Callable[[Tensor, Tensor], float]:
    """Root mean square of a difference over that of the expected values."""

    def measure(actual: Tensor, expected: Tensor) -> float:
        assert actual.shape == expected.shape
        expected = expected.double()
        error = float((actual.double() - expected).norm())
        return error and error / float(expected.norm())

    return measure
