"""Choosing a device and a backend, and the word about compilation."""

from __future__ import annotations

import time

import pytest
import torch

from mambair_cli import networks
from mambair_cli.cli import compute
from mambair_cli.cli.console import Messages
from mambair_cli.errors import BackendError

CPU = torch.device("cpu")


def test_cached_kernels_are_not_worth_a_word(monkeypatch, capfd):
    monkeypatch.setattr(networks, "prepare_kernels", lambda *_, **__: 0.5)
    assert compute.prepare_scan("reference", CPU, Messages()) == "reference"
    assert capfd.readouterr() == ("", "")


def test_compilation_is_announced_and_reported(monkeypatch, capfd):
    monkeypatch.setattr(compute, "COMPILE_SECONDS", 0.05)

    def compile_slowly(_name: str, **_: bool) -> float:
        time.sleep(0.3)
        return 14.2

    monkeypatch.setattr(networks, "prepare_kernels", compile_slowly)
    compute.prepare_scan("reference", CPU, Messages())
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "compiling the reference kernels, once for this machine ...",
        "compiled the reference kernels in 14 s (cached for later runs)",
    ]


def test_quiet_says_nothing_about_compilation(monkeypatch, capfd):
    monkeypatch.setattr(networks, "prepare_kernels", lambda *_, **__: 14.2)
    compute.prepare_scan("reference", CPU, Messages(quiet=True))
    assert capfd.readouterr() == ("", "")


def test_an_unknown_backend():
    with pytest.raises(BackendError, match="unknown scan backend 'cubin'"):
        compute.prepare_scan("cubin", CPU, Messages())


def test_threads_are_counted():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert compute.describe_device(CPU) == "cpu (1 thread)"
        torch.set_num_threads(2)
        assert compute.describe_device(CPU) == "cpu (2 threads)"
    finally:
        torch.set_num_threads(threads)
