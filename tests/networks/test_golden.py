"""Every published network gives its published output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mambair_cli.networks import MambaIRConfig, MambaIRUNetConfig, build_network
from mambair_cli.networks.ss2d import SS2D
from mambair_cli.restoration.device.scan_backend import set_scan_backend

NETWORKS = json.loads((Path(__file__).parents[1] / "data" / "golden" / "networks.json").read_text())
UNUSED = {"img_size", "dual_pixel_task"}  # options of the published code that change nothing


def config_of(entry):
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["config"].items()
        if key not in UNUSED
    }
    return {"MambaIR": MambaIRConfig, "MambaIRUNet": MambaIRUNetConfig}[entry["network"]](**values)


@pytest.mark.parametrize("scan", ["numba", "torch", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks(name, scan, seeded, golden_files):
    entry = NETWORKS[name]
    network = seeded(build_network(config_of(entry)))
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]
    assert set_scan_backend(network, scan) == scan
    golden = load_file(golden_files / f"{name}.safetensors")
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
