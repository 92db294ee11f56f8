"""What every test shares: no test reaches beyond this machine unless it is marked `network`."""

from __future__ import annotations

import socket

import pytest


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
