"""The trial of Triton's kernels, by its interpreter where there is no GPU."""

from __future__ import annotations

from dataclasses import replace
from subprocess import CalledProcessError

import pytest
import torch

pytest.importorskip("triton")

from mambair_cli.kernels import triton_trial
from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.triton_trial import failure_on


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch):
    monkeypatch.setattr(triton_trial, "ROWS", 2)
    monkeypatch.setattr(triton_trial, "COLUMNS", 3)
    failure_on.cache_clear()
    yield
    failure_on.cache_clear()


def test_kernels_that_run_are_not_refused_and_no_random_number_is_taken(kernel_device):
    state = torch.get_rng_state()
    assert failure_on(kernel_device) is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            CalledProcessError(1, ["gcc", "main.c"]),
            "CalledProcessError: Command '['gcc', 'main.c']' returned non-zero exit status 1.",
        ),
        (PermissionError(13, "Permission denied"), "PermissionError: [Errno 13] Permission denied"),
        (AssertionError("libcuda.so\nmore"), "AssertionError: libcuda.so"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_fails_is_the_reason_and_is_tried_once(error, reason, kernel_device, monkeypatch):
    tries = []

    def launch(*_, **__):
        tries.append(True)
        raise error

    monkeypatch.setattr(ops_gpu, "launch", launch)
    for _ in range(2):
        assert failure_on(kernel_device) == f"its kernels do not run there ({reason})"
    assert len(tries) == 1


@pytest.mark.parametrize("step", ["channel_gate", "norm", "norm_gate", "depthwise"])
def test_wrong_results_are_a_reason(step, kernel_device, monkeypatch):
    right = getattr(ops_gpu.FUSED, step)
    wrong = replace(ops_gpu.FUSED, **{step: lambda *given: right(*given) + 0.1})
    monkeypatch.setattr(ops_gpu, "FUSED", wrong)
    assert failure_on(kernel_device) == f"its kernels compute something else there: {step}"
