"""Right or wrong on this GPU: the operator and whole networks."""

from __future__ import annotations

import json
import runpy
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mambair_cli.kernels.scan import dispatch
from mambair_cli.networks import build_network
from mambair_cli.networks.mambair_v2 import MambaIRv2
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from on_gpu import ROOT
from on_gpu.cases import LIMITS, LONG_SCAN_SHAPES, QUICK_SCAN_SHAPES, SCAN_SHAPES, scan_inputs
from on_gpu.measure import FORMATS, Report, computing, poisoned_memory, prepared, relative_error

if TYPE_CHECKING:
    from mambair_cli.networks import RestorationNetwork
    from mambair_cli.networks.spec import NetworkConfig
    from on_gpu.settings import Settings

GOLDEN = ROOT / "tests" / "data" / "golden"
OPERANDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Results of a scan alone, of one that keeps what gradients need, and the gradients.
NAMES = ("y", "y_with_gradients", "u", "projected", "step_weight", "step_bias", "A", "D")


def summed(y: Tensor) -> Tensor:
    """A scan's result, its parts added up in float32 where it comes in parts."""
    return y if y.dim() == 4 else y.sum(0, dtype=torch.float32)


def values_and_gradients(run: dispatch.Run, leaves: list[Tensor]) -> list[Tensor]:
    """The result of a scan and the gradient of each argument, for a fixed upstream gradient."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    y = summed(run(*leaves))
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y.detach(), *torch.autograd.grad(y, leaves, upstream.to(y.device, y.dtype))]


def scan_arguments(shape: tuple[int, ...], number_format: str) -> list[Tensor]:
    """Arguments of a scan; u and what is projected from it come in the format."""
    arguments = scan_inputs(shape)
    dtype = OPERANDS[number_format]
    return [tensor.to(dtype) if i < 2 else tensor for i, tensor in enumerate(arguments)]


def scan_errors(
    backend: dispatch.Backend, shape: tuple[int, ...], number_format: str, device: torch.device
) -> dict[str, object]:
    """Errors of one backend on one shape, against float64 on the same device.

    In float64 `torch` computes, whose tests compare it with the definition on a CPU; of long shapes
    no gradients are asked for.
    """
    arguments = [x.to(device) for x in scan_arguments(shape, number_format)]
    exact = [x.double() for x in arguments]
    with torch.no_grad():
        expected = [dispatch.TORCH.run(*exact)]
    if shape not in LONG_SCAN_SHAPES:
        expected += values_and_gradients(dispatch.TORCH.run, exact)
    with poisoned_memory():
        with torch.no_grad():
            actual = [summed(backend.run(*arguments))]
        if len(expected) > 1:
            actual += values_and_gradients(backend.run, arguments)
    pairs = zip(NAMES, actual, expected, strict=False)
    errors = {name: relative_error(ours, wanted) for name, ours, wanted in pairs}
    passes = all(error < LIMITS[number_format] for error in errors.values())
    return {"passes": passes, "relative_errors": errors}


def scans(report: Report, settings: Settings) -> None:
    """The scan's kernels on every shape, in every format of their operands."""
    device = settings.device
    if reason := dispatch.TRITON.refuses(device):
        report.put({"refuses": reason}, dispatch.TRITON.name)
        return
    shapes = QUICK_SCAN_SHAPES if settings.quick else (*SCAN_SHAPES, *LONG_SCAN_SHAPES)
    for shape in shapes:
        for number_format in OPERANDS:
            report.attempt(
                partial(scan_errors, dispatch.TRITON, shape, number_format, device),
                dispatch.TRITON.name,
                number_format,
                "x".join(map(str, shape)),
            )


def golden_entries() -> dict[str, Any]:
    """What the golden networks are, by name; not those whose classes a CPU's generator draws."""
    entries = json.loads((GOLDEN / "networks.json").read_text())
    return {
        name: entry
        for name, entry in entries.items()
        if not entry.get("route", "").startswith("sampled")
    }


def golden_config(entry: dict[str, Any]) -> NetworkConfig:
    """The configuration of a golden network."""
    config: NetworkConfig = _run("tests/support/published_networks.py")["config_of"](entry)
    return config


@cache
def _run(path: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / path))


def golden_network(entry: dict[str, Any]) -> RestorationNetwork:
    """A golden network with its parameters, on the CPU."""
    seeded_tensor = _run("tests/networks/conftest.py")["seeded_tensor"]
    network = build_network(golden_config(entry)).eval().requires_grad_(False)
    state = {
        name: torch.from_numpy(seeded_tensor(name, tuple(tensor.shape)))
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    return network


def network_errors(
    network: RestorationNetwork, golden: dict[str, Tensor], settings: Settings
) -> dict[str, object]:
    """Errors of a network in every format against itself in float64 and its published output."""
    device = settings.device
    network.double().to(device)
    set_scan_backend(network, "torch")
    with torch.inference_mode():
        expected = network(golden["input"].double().to(device))
    network.float()
    set_scan_backend(network, settings.scan)
    errors = {}
    for number_format in FORMATS if settings.on_gpu else FORMATS[-1:]:
        with computing(number_format, device):
            output = prepared(network, number_format)(golden["input"].to(device))
        errors[number_format] = relative_error(output, expected)
        if number_format == "fp32":
            errors["fp32_against_published"] = relative_error(output, golden["output"])
    network.cpu()
    # Of the second version pixels between two classes go to either in short formats.
    exact = ("fp32", "fp32_against_published")
    deciding = [name for name in errors if name in exact or not isinstance(network, MambaIRv2)]
    return {
        "passes": all(errors[name] < LIMITS.get(name, LIMITS["fp32"]) for name in deciding),
        "relative_errors": errors,
    }


def networks(report: Report, settings: Settings) -> None:
    """The golden networks, both versions, with the kernels that a user would get."""
    entries = golden_entries()
    for name in list(entries)[:: 13 if settings.quick else 1]:
        golden = load_file(GOLDEN / f"{name}.safetensors")
        network = golden_network(entries[name])
        report.attempt(partial(network_errors, network, golden, settings), name)
