"""Every published network gives its published output."""

from __future__ import annotations

import pytest
import torch
from published_networks import SMALL, config_of
from safetensors.torch import load_file

from mambair_cli.networks import build_network
from mambair_cli.networks.ss2d import SS2D
from mambair_cli.restoration.device.scan_backend import set_scan_backend


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
@pytest.mark.parametrize("name", SMALL)
def test_published_networks(name, scan, seeded, golden_files):
    entry = SMALL[name]
    network = seeded(build_network(config_of(entry)))
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]
    assert set_scan_backend(network, scan) == scan
    golden = load_file(golden_files / f"{name}.safetensors")
    if entry.get("route", "").startswith("sampled"):
        network.sample_classes(sampled=True)
        torch.manual_seed(10)
    with torch.inference_mode():
        output = network(golden["input"])
    assert output.shape == tuple(entry["output"])
    assert (output - golden["output"]).abs().max() < 1e-4 * golden["output"].std()


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
def test_published_state_space_module(scan, seeded, golden_files):
    module = seeded(SS2D(d_model=24, d_state=10, expand=1.5))
    set_scan_backend(module, scan)
    golden = load_file(golden_files / "ss2d_block.safetensors")
    with torch.inference_mode():
        output = module(golden["input"])
    assert (output - golden["output"]).abs().max() < 1e-4 * golden["output"].std()
