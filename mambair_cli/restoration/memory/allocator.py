"""What allocators do with freed memory, and how they say that there is none left."""

from __future__ import annotations

import ctypes
import os
import re
import sys

import torch

# Parameters of glibc's mallopt: how much free memory is kept, what is mapped on its own, and how
# many threads have a heap of their own, which would give back what is free at its end.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Have the C library keep what one layer freed for the next, not map fresh pages each time.

    A classic network touches 140,000 fresh pages for one 64x64 tile otherwise. Only glibc has
    the setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Return freed main memory to the system, where the C library can be asked to.

    glibc keeps it in pieces, and images of ever other sizes leave pieces that none of the next ones
    fits: a process grows for hundreds of images.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


# Where torch has no class of its own: the CPU, Apple GPUs, pinned memory, workspaces of libraries,
# and what Triton itself needs of a GPU to load a kernel.
_SIGNS_OF_SHORT_MEMORY = re.compile(
    "DefaultCPUAllocator: "
    "|MPS backend out of memory"
    "|Cannot allocate memory"
    r"|(CUDA|HIP|XPU)( driver)? error: out of memory"
    r"|Triton Error \[\w+\]: out of memory"
    "|CUDA_ERROR_OUT_OF_MEMORY"
    "|(CU|HIP)BLAS(LT)?_STATUS_ALLOC_FAILED"
    "|CUDNN_STATUS_ALLOC_FAILED"
    "|CUDNN_STATUS_INTERNAL_ERROR_(DEVICE|HOST)_ALLOCATION_FAILED"
    "|miopenStatusAllocFailed"
)
# What libraries say when their workspace or their handle found no memory, and in other plights too.
_SIGNS_OF_DOUBT = re.compile(
    "unable to find an engine to execute this computation"
    "|CUBLAS_STATUS_NOT_INITIALIZED"
    "|CUDNN_STATUS_NOT_INITIALIZED"
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch means that memory ran out."""
    known = isinstance(error, torch.OutOfMemoryError)
    return known or _SIGNS_OF_SHORT_MEMORY.search(str(error)) is not None


def may_be_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether less work at a time may help: memory ran out, or a library may mean that."""
    return is_out_of_memory(error) or _SIGNS_OF_DOUBT.search(str(error)) is not None
