"""What tests share: none reaches beyond this machine unless marked `network`; one error measure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor


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
def relative_rms() -> Callable[[Tensor, Tensor], float]:
    """Root mean square of a difference over that of the expected values."""

    def measure(actual: Tensor, expected: Tensor) -> float:
        assert actual.shape == expected.shape
        expected = expected.double()
        error = float((actual.double() - expected).norm())
        return error and error / float(expected.norm())

    return measure
