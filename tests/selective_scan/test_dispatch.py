"""Which backend runs, which refuses, and what it says."""

from __future__ import annotations

import sys

import pytest
import torch

from mambair_cli.errors import BackendError
from mambair_cli.selective_scan import dispatch

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_first_backend_that_does_not_refuse_is_chosen():
    assert dispatch.select("auto", CPU).name == "numba"
    assert dispatch.select("auto", torch.device("meta")).name == "numba"
    assert dispatch.select("auto", CUDA).name == "reference"


@pytest.mark.parametrize("backend", dispatch.BACKENDS, ids=lambda backend: backend.name)
def test_a_backend_is_chosen_by_name_where_it_runs(backend):
    if backend.refuses(CPU) is None:
        assert dispatch.select(backend.name, CPU) is backend


def test_names_are_distinct_and_the_definition_comes_last():
    names = [backend.name for backend in dispatch.BACKENDS]
    assert len({*names, "auto"}) == len(names) + 1
    assert names[-1] == "reference"
    assert dispatch.REFERENCE.refuses(CUDA) is None


def test_a_named_backend_that_refuses_says_why():
    with pytest.raises(BackendError) as caught:
        dispatch.select("numba", CUDA)
    assert caught.value.message == (
        "scan backend 'numba' cannot run here: it runs on a CPU, not on cuda"
    )
    assert caught.value.hint == ("use --scan auto, or see what runs here with: mambair doctor")


def test_without_numba_the_definition_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert dispatch.select("auto", CPU).name == "reference"
    with pytest.raises(BackendError, match=r"here: numba cannot be imported \(.*numba.*\)$"):
        dispatch.select("numba", CPU)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BackendError) as caught:
        dispatch.select("cuda-magic", CPU)
    assert caught.value.message == "unknown scan backend 'cuda-magic'"
    names = ", ".join(backend.name for backend in dispatch.BACKENDS)
    assert caught.value.hint == f"choose one of: auto, {names}"


def test_the_operator_runs_the_backend_it_is_given():
    arguments = [torch.zeros(1)] * 6
    seen = []
    backend = dispatch.Backend("spy", lambda _: None, lambda *a: seen.append(a))
    dispatch.selective_scan_2d(*arguments, backend=backend)
    assert seen == [tuple(arguments)]
