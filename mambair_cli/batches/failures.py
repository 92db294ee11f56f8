"""Which exceptions are the failure of a file, which that of a device, and which a bug of ours."""

from __future__ import annotations

import errno

import torch

from mambair_cli.batches.jobs import Job
from mambair_cli.errors import (
    BackendError,
    ImageError,
    MambairError,
    MemoryLimitError,
    OutputError,
)
from mambair_cli.restoration.memory.allocator import is_out_of_memory

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

FileError = (MambairError, MemoryError, OSError, RuntimeError)

# How torch and Triton word what leaves a GPU's context unusable for the rest of the process.
_LOST_DEVICE = ("CUDA error", "HIP error", "XPU error", "Triton Error [")


def file_failure(job: Job, error: Exception) -> MambairError | None:
    """Say what a `FileError` means for one file.

    Args:
        job: What was being done.
        error: What was raised while it was done.

    Returns:
        The failure to report, or None if it is not the file's: a bug, or a device that is lost.
    """
    if isinstance(error, MambairError):
        return error
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and is_out_of_memory(error)
    ):
        return MemoryLimitError(
            f"{job.source} is too large for the memory of this machine",
            "close other programs, or cut the image into parts",
        )
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return OutputError(
            f"cannot write {job.target}: {error.strerror}",
            "free some disk space, or choose another place with -o/--output",
        )
    if isinstance(error, OSError):
        return ImageError(
            f"{job.source}: {error.strerror or error}", "check disk, network and permissions"
        )
    return None


def is_device_lost(error: RuntimeError) -> bool:
    """Whether nothing more can be computed on the device that raised an error.

    Memory that ran out is no such error: the next image may fit.
    """
    if is_out_of_memory(error):
        return False
    # Releases of torch before 2.8 have no class for it.
    known = isinstance(error, getattr(torch, "AcceleratorError", ()))
    return known or any(sign in str(error) for sign in _LOST_DEVICE)


def device_failure(job: Job, device: str, reason: str) -> BackendError:
    """Return the failure of a file on which a device was lost."""
    return BackendError(
        f"{job.source} was not restored: {device} failed: {reason}",
        "see if the device still works, then run the command again with --resume",
    )


def no_device_left(job: Job) -> BackendError:
    """Return the failure of a file that no device was left for."""
    return BackendError(
        f"{job.source} was not restored: no device is left",
        "see if the devices still work, then run the command again with --resume",
    )
