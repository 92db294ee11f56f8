"""Freed memory is given back, and errors of short memory are told from others."""

from __future__ import annotations

import ctypes

import pytest
import torch

from mambair_cli.restoration.memory import allocator
from mambair_cli.restoration.memory.allocator import (
    give_back,
    is_out_of_memory,
    may_be_out_of_memory,
)
from mambair_cli.restoration.memory.available import resident_memory


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
def test_freed_memory_is_given_back():
    pieces = [bytes(60_000) for _ in range(2000)]
    kept = pieces[::50]
    del pieces
    before = resident_memory()
    give_back()
    assert len(kept) == 40
    assert resident_memory() < before - 50 * 2**20


def test_a_c_library_without_the_call_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    give_back()


def test_memory_errors_of_torch_are_told_from_others():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not may_be_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "HIP error: out of memory",
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "Triton Error [HIP]: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
        "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_libraries_have_words_of_their_own_for_short_memory(message):
    assert is_out_of_memory(RuntimeError(message))


@pytest.mark.parametrize(
    "message",
    [
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    ],
)
def test_some_words_may_mean_short_memory_or_not(message):
    assert may_be_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError(message))
