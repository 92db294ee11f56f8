"""Every failure that a user can cause, each with a hint and the exit status it leads to."""

from __future__ import annotations


class MambairError(Exception):
    """Something failed for a reason that the user can understand and act on.

    Args:
        message: What happened, with the offending value.
        hint: The command, flag or action that helps; None when nothing sensible can be said.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MambairError):
    """The request itself is wrong: unknown model, contradictory options, colliding outputs."""

    exit_status = 2


class RecipeError(UsageError):
    """A training recipe holds an unknown key, a wrong type or an impossible value."""


class ImageError(MambairError):
    """A file cannot be read as an image, or its kind of image is not supported."""


class OutputError(MambairError):
    """An output cannot be written where it was asked for."""


class CheckpointError(MambairError):
    """A weights file is missing, damaged, unsafe, or holds another network."""


class BackendError(MambairError):
    """A requested device, precision or scan backend cannot run here."""


class MemoryLimitError(MambairError):
    """An image does not fit in memory even with the smallest tiles."""
