"""Which backend runs, which refuses, and what it says."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from mambair_cli.errors import BackendError
from mambair_cli.kernels import triton_trial
from mambair_cli.kernels.scan import dispatch

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_first_backend_that_does_not_refuse_is_chosen():
    assert dispatch.select("auto", CPU).name == "numba"
    assert dispatch.select("auto", torch.device("meta")).name == "numba"
    assert dispatch.select("auto", torch.device("mps")).name == "torch"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "xpu"])
def test_triton_comes_first_on_a_gpu(device, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    monkeypatch.setattr(triton_trial, "failure_on", lambda _: None)
    assert dispatch.select("auto", torch.device(device)).name == "triton"
    monkeypatch.setattr(triton_trial, "failure_on", lambda _: "its kernels do not run there")
    assert dispatch.select("auto", torch.device(device)).name == "torch"
    with pytest.raises(BackendError, match="'triton' cannot run here: its kernels do not run"):
        dispatch.select("triton", torch.device(device))
    monkeypatch.setitem(sys.modules, "triton", None)
    assert dispatch.select("auto", torch.device(device)).name == "torch"


def test_the_interpreter_runs_on_a_cpu_only_when_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.select("triton", CPU).name == "triton"
    assert dispatch.select("auto", CPU).name == "numba"
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(BackendError, match=r"'triton' cannot run here: .*, not on cpu$"):
        dispatch.select("triton", CPU)


def test_nobody_is_asked_after_the_first_that_runs(monkeypatch):
    def ask(_device):
        raise AssertionError("asked in vain")

    unasked = dispatch.Backend("slow", ask, lambda *_: torch.zeros(()))
    monkeypatch.setattr(dispatch, "BACKENDS", (dispatch.NUMBA, unasked))
    assert dispatch.select("auto", CPU).name == "numba"
    assert dispatch.select("numba", CPU).name == "numba"


@pytest.mark.parametrize("backend", dispatch.BACKENDS, ids=lambda backend: backend.name)
def test_a_backend_is_chosen_by_name_where_it_runs(backend):
    if backend.refuses(CPU) is None:
        assert dispatch.select(backend.name, CPU) is backend


def test_the_order_is_from_the_fastest_to_the_definition():
    names = [backend.name for backend in dispatch.BACKENDS]
    assert names == ["triton", "mamba-ssm", "numba", "torch", "reference"]


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu", "meta"])
@pytest.mark.parametrize("backend", [dispatch.TORCH, dispatch.REFERENCE], ids=lambda b: b.name)
def test_pytorch_itself_never_refuses(backend, device):
    assert backend.refuses(torch.device(device)) is None


def test_a_named_backend_that_refuses_says_why():
    with pytest.raises(BackendError) as caught:
        dispatch.select("numba", CUDA)
    assert caught.value.message == (
        "scan backend 'numba' cannot run here: it runs on a CPU, not on cuda"
    )
    assert caught.value.hint == ("use --scan auto, or see what runs here with: mambair doctor")


def test_without_numba_pytorch_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert dispatch.select("auto", CPU).name == "torch"
    with pytest.raises(BackendError, match=r"here: numba cannot be imported \(.*numba.*\)$"):
        dispatch.select("numba", CPU)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BackendError) as caught:
        dispatch.select("cuda-magic", CPU)
    assert caught.value.message == "unknown scan backend 'cuda-magic'"
    assert caught.value.hint == ("choose one of: auto, triton, mamba-ssm, numba, torch, reference")


def test_the_operator_runs_the_backend_it_is_given():
    arguments = [torch.zeros(1)] * 6
    seen = []
    backend = dispatch.Backend("spy", lambda _: None, lambda *a: seen.append(a))
    dispatch.selective_scan_2d(*arguments, backend=backend)
    assert seen == [tuple(arguments)]
