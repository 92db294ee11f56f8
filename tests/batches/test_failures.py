"""What exceptions of the network mean for a file and for its device."""

from pathlib import Path

import pytest
import torch

from mambair_cli.batches.failures import file_failure, is_device_lost
from mambair_cli.batches.jobs import Job
from mambair_cli.errors import ImageError, MemoryLimitError, OutputError

JOB = Job(Path("in/a.png"), Path("out/a.png"), Path("out"))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "HIP error: unspecified launch failure",
        "Triton Error [CUDA]: misaligned address",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ],
)
def test_errors_that_leave_a_device_unusable(message):
    error = RuntimeError(message)
    assert is_device_lost(error)
    assert file_failure(JOB, error) is None


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this torch has no such class")
def test_the_class_of_such_errors_is_known():
    assert is_device_lost(torch.AcceleratorError("anything"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_short_memory_is_the_files_failure(error):
    failure = file_failure(JOB, error)
    assert isinstance(failure, MemoryLimitError)
    assert failure.message == "in/a.png is too large for the memory of this machine"
    assert not is_device_lost(error)


def test_failures_that_explain_themselves_stay_as_they_are():
    error = OutputError("out cannot be written to", "choose another")
    assert file_failure(JOB, error) is error


def test_the_system_s_errors_name_the_file():
    failure = file_failure(JOB, OSError(5, "Input/output error"))
    assert isinstance(failure, ImageError)
    assert failure.message == "in/a.png: Input/output error"


def test_other_errors_are_bugs():
    error = RuntimeError("shape mismatch")
    assert file_failure(JOB, error) is None
    assert not is_device_lost(error)
