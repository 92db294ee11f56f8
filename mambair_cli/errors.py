"""Every failure that a user can cause, each with a hint and the exit status it leads to."""

from __future__ import annotations

import re

# User and password of an address, and what stands in the header that says who asks.
_SECRET = re.compile(r"(?<=://)[^/\n]*(?=@)|(?<=Bearer )[^\s'\"]+")


def without_secrets(text: str) -> str:
    """Mask passwords and tokens in a text that may quote an address or a request."""
    return _SECRET.sub("***", text)


class MambairError(Exception):
    """Something failed for a reason that the user can understand and act on.

    Args:
        message: What happened, with the offending value.
        hint: The command, flag or action that helps; None when nothing sensible can be said.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = without_secrets(message)
        super().__init__(self.message)
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


def failure_of_system(error: Exception) -> MambairError | None:
    """Say what an error of the system means that nothing closer to its cause has explained.

    Returns:
        The failure to report; None where it is none of disk, network and memory, so a bug of ours.
    """
    if isinstance(error, MemoryError):
        return MemoryLimitError(
            "the memory of this machine does not suffice",
            "close other programs, or do less at once",
        )
    if not isinstance(error, OSError):
        return None
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return MambairError(reason, "check disk, network and permissions")
    # Names may be bytes, or the number of an open file.
    name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else ""
    return MambairError(
        f"{name or error.filename}: {reason}", "check that it is there, and what you may do with it"
    )
