"""Choosing a device and a backend, and the word about compilation."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mambair_cli import networks
from mambair_cli.batches import models
from mambair_cli.batches.models import Model
from mambair_cli.cli import compiling
from mambair_cli.cli.console import Messages
from mambair_cli.kernels.scan import dispatch
from mambair_cli.kernels.scan.dispatch import REFERENCE
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.restoration.device import devices, scan_backend
from mambair_cli.restoration.device.scan_backend import set_scan_backend

CPU = torch.device("cpu")


def test_cached_kernels_are_not_worth_a_word(monkeypatch, capfd):
    monkeypatch.setattr(scan_backend, "prepare_kernels", lambda *_, **__: 0.5)
    compiling.prepare_scan(REFERENCE, CPU, Messages())
    assert capfd.readouterr() == ("", "")


def test_compilation_is_announced_and_reported(monkeypatch, capfd):
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.05)

    def compile_slowly(_name: str, **_: bool) -> float:
        time.sleep(0.3)
        return 14.2

    monkeypatch.setattr(scan_backend, "prepare_kernels", compile_slowly)
    compiling.prepare_scan(REFERENCE, CPU, Messages())
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "compiling the reference kernels, once for this machine ...",
        "compiled the reference kernels in 14 s (cached for later runs)",
    ]


@pytest.fixture
def on_a_gpu(monkeypatch):
    """A machine with a GPU on which Triton's kernels are tried."""
    monkeypatch.setattr(devices, "resolve_devices", lambda _: [torch.device("cuda", 0)])

    def trying(failure):
        def refuses(_device):
            time.sleep(0.2)
            return failure

        backend = replace(dispatch.TRITON, refuses=refuses)
        monkeypatch.setattr(dispatch, "TRITON", backend)
        monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.05)

    return trying


def test_the_first_kernels_of_a_gpu_are_announced(on_a_gpu, capfd):
    on_a_gpu(None)
    compiling.load_kernels("cuda", "auto", Messages())
    assert capfd.readouterr().err.splitlines() == [
        "compiling the triton kernels, once for this machine ...",
        "compiled the triton kernels in 0.2 s (cached for later runs)",
    ]
    compiling.load_kernels("cuda", "mamba-ssm", Messages())
    assert capfd.readouterr() == ("", "")


def test_why_a_gpu_gets_slower_kernels_is_said(on_a_gpu, capfd):
    on_a_gpu("its kernels do not run there (FileNotFoundError: gcc)")
    compiling.load_kernels("cuda", "auto", Messages())
    assert capfd.readouterr().err.splitlines()[-1] == (
        "warning: the fast kernels cannot run here, and the scan is slower without: its kernels do "
        "not run there (FileNotFoundError: gcc)"
    )


def test_quiet_says_nothing_about_compilation(monkeypatch, capfd):
    monkeypatch.setattr(scan_backend, "prepare_kernels", lambda *_, **__: 14.2)
    compiling.prepare_scan(REFERENCE, CPU, Messages(quiet=True))
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def model():
    network = networks.build_network(MambaIRConfig(embed_dim=8, depths=(1,))).eval()
    spec = ModelSpec("mambair-test-sr-x2", "sr", network.scale, network.channels)
    scan = set_scan_backend(network.requires_grad_(False), "reference")
    return Model(network, spec, CPU, "fp32", scan, Path("weights.safetensors"), "0" * 64)


def test_a_gpu_compiles_for_the_network_itself(model, monkeypatch, capfd):
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(models, "SMALL_IMAGE", (9, 10))
    sizes = []
    model.network.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    compiling.prepare_network(replace(model, device=torch.device("cuda")), Messages())
    assert sizes == [(1, 3, 9, 10)]
    assert f"compiled the reference kernels for {model.spec.id} in" in capfd.readouterr().err


def test_a_cpu_needs_no_kernels_for_a_network(model, capfd):
    model.network.register_forward_pre_hook(lambda *_: pytest.fail("the network ran"))
    compiling.prepare_network(model, Messages())
    assert capfd.readouterr() == ("", "")


def test_no_garbage_is_searched_for_until_kernels_are_ready():
    program = """
import gc, sys
from mambair_cli.cli import compiling, garbage
from mambair_cli.cli.console import Messages
usual = gc.get_threshold()
garbage.begin_start()
assert gc.get_threshold()[0] > 1_000_000
import torch
from mambair_cli.kernels.scan.dispatch import REFERENCE
compiling.prepare_scan(REFERENCE, torch.device("cpu"), Messages())
sys.exit(gc.get_threshold() != usual)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
