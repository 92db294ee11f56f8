"""Freed memory is given back, and errors of short memory are told from others."""

from __future__ import annotations

import ctypes

import pytest
import torch

from mambair_cli.restoration.memory import allocator
from mambair_cli.restoration.memory.allocator import give_back, is_out_of_memory
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
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
