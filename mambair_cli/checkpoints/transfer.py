"""What is fetched from the Hub, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mambair_cli.checkpoints.reference import HubReference


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository at one commit.

    Attributes:
        reference: What was asked for.
        revision: The commit.
        digest: SHA-256 of the file, or Git's object id for a small one, as the Hub states it.
        size: Its bytes; None where the Hub does not say.
    """

    reference: HubReference
    revision: str
    digest: str
    size: int | None

    @property
    def repo(self) -> str:
        """Owner and name of the repository."""
        return self.reference.repo

    @property
    def path(self) -> str:
        """Path of the file in the repository."""
        return self.reference.path


class Listener(Protocol):
    """Is told what happens while something is fetched."""

    def waiting(self, name: str) -> None:
        """Another process fetches the same."""

    def started(self, file: HubFile) -> None:
        """A download begins."""

    def progressed(self, done: int, total: int | None) -> None:
        """So many bytes of so many are here."""

    def troubled(self, reason: str) -> None:
        """The connection failed, and is tried again."""

    def finished(self) -> None:
        """The download has ended, well or not."""
