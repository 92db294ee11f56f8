"""Right or wrong on this GPU: the operator, whole networks, restored images, the test suite."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_cases import LIMITS, LONG_SCAN_SHAPES, SCAN_SHAPES, scan_inputs
from gpu_measure import FORMATS, Report, computing, poisoned_memory, prepared, relative_error
from safetensors.torch import load_file
from torch import Tensor

import mambair_cli as mambair
from mambair_cli.evaluation.degrade import crop_to_multiple, downscale
from mambair_cli.evaluation.metrics import y_psnr
from mambair_cli.imaging.files import read_image
from mambair_cli.kernels.scan import dispatch, reference
from mambair_cli.networks import build_network
from mambair_cli.pixels.tensors import to_pixels, to_tensor
from mambair_cli.restoration.device.scan_backend import set_scan_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mambair_cli.networks import RestorationNetwork

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "data" / "golden"
OPERANDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Results of a scan alone, of one that keeps what gradients need, and the gradients.
NAMES = ("y", "y_with_gradients", "u", "projected", "step_weight", "step_bias", "A", "D")
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")


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


@cache
def scan_definition(shape: tuple[int, ...], number_format: str) -> list[Tensor]:
    """Values that a scan has in float64 on the CPU, and its gradients unless the shape is long."""
    arguments = [tensor.double() for tensor in scan_arguments(shape, number_format)]
    if shape in LONG_SCAN_SHAPES:
        return [reference.selective_scan_2d(*arguments)]
    return values_and_gradients(reference.selective_scan_2d, arguments)


def scan_errors(
    backend: dispatch.Backend, shape: tuple[int, ...], number_format: str, device: torch.device
) -> dict[str, object]:
    """Errors of one backend on one shape."""
    arguments = scan_arguments(shape, number_format)
    expected = scan_definition(shape, number_format)
    with poisoned_memory():
        placed = [x.to(device) for x in arguments]
        with torch.no_grad():
            actual = [summed(backend.run(*placed))]
        if len(expected) > 1:
            actual += values_and_gradients(backend.run, placed)
            expected = [expected[0], *expected]
    pairs = zip(NAMES, actual, expected, strict=False)
    errors = {name: relative_error(ours, wanted) for name, ours, wanted in pairs}
    passes = all(error < LIMITS[number_format] for error in errors.values())
    return {"passes": passes, "relative_errors": errors}


def scans(report: Report, device: torch.device, *, quick: bool) -> None:
    """Every backend that runs here, on every shape, in every format of its operands."""
    for backend in dispatch.BACKENDS:
        if reason := backend.refuses(device):
            report.put({"refuses": reason}, backend.name)
            continue
        plain = backend is dispatch.REFERENCE  # of one type, and slow
        shapes = SCAN_SHAPES if plain else (*SCAN_SHAPES, *LONG_SCAN_SHAPES)
        for shape in shapes[: 2 if quick else None]:
            for number_format in ("fp32",) if plain else OPERANDS:
                report.attempt(
                    lambda b=backend, s=shape, f=number_format: scan_errors(b, s, f, device),
                    backend.name,
                    number_format,
                    "x".join(map(str, shape)),
                )


def golden_network(entry: dict[str, Any]) -> RestorationNetwork:
    """A golden network with its parameters, on the CPU."""
    seeded_tensor = runpy.run_path(str(ROOT / "tests/networks/conftest.py"))["seeded_tensor"]
    config_of = runpy.run_path(str(ROOT / "tests/support/published_networks.py"))["config_of"]
    network = build_network(config_of(entry)).eval().requires_grad_(False)
    state = {
        name: torch.from_numpy(seeded_tensor(name, tuple(tensor.shape)))
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    return network


def network_errors(
    network: RestorationNetwork, golden: dict[str, Tensor], backend: str, device: torch.device
) -> dict[str, object]:
    """Errors of a network in every format against itself in float64 and its published output."""
    set_scan_backend(network, "reference")
    with torch.inference_mode():
        expected = network.double()(golden["input"].double())
    network.float().to(device)
    set_scan_backend(network, backend)
    errors = {}
    for number_format in FORMATS:
        with computing(number_format, device):
            output = prepared(network, number_format)(golden["input"].to(device))
        errors[number_format] = relative_error(output, expected)
        if number_format == "fp32":
            errors["fp32_against_published"] = relative_error(output, golden["output"])
    network.cpu()
    return {
        "passes": all(errors[name] < LIMITS[name] for name in FORMATS),
        "relative_errors": errors,
    }


def networks(report: Report, device: torch.device, *, quick: bool) -> None:
    """The golden networks with every backend that runs here."""
    entries = json.loads((GOLDEN / "networks.json").read_text())
    backends = [b.name for b in dispatch.BACKENDS if not b.refuses(device)]
    for name in list(entries)[:: 4 if quick else 1]:
        golden = load_file(GOLDEN / f"{name}.safetensors")
        network = golden_network(entries[name])
        for backend in backends:
            report.attempt(
                lambda n=network, g=golden, b=backend: network_errors(n, g, b, device),
                name,
                backend,
            )


def truths(directory: Path | None) -> dict[str, NDArray[np.uint8]]:
    """High-resolution images: those of a directory, or the samples of scikit-image."""
    if directory is not None:
        paths = sorted(p for p in directory.iterdir() if p.suffix in (".png", ".bmp", ".jpg"))
        images = {path.stem: read_image(path).pixels for path in paths}
    else:
        from skimage import data

        images = {name: getattr(data, name)() for name in SAMPLES}
    return {name: np.repeat(x, 3 // x.shape[2], axis=2) for name, x in images.items()}


def quality(
    report: Report, device: torch.device, *, quick: bool, directory: Path | None = None
) -> None:
    """PSNR of the bundled weights in every format, beside that in float32."""
    model = mambair.load_model("mambair-tiny-sr-x4", device=str(device))
    scale = model.spec.scale
    for name, pixels in list(truths(directory).items())[: 1 if quick else None]:
        truth = crop_to_multiple(pixels[:64, :80] if quick else pixels, scale)
        low = to_tensor(downscale(truth, scale)).to(device)
        row = {}
        for number_format in ("fp32", *FORMATS[:-1]):
            with computing(number_format, device):
                restored = prepared(model.network, number_format)(low).float().cpu()
            row[f"{number_format}_dB"] = round(y_psnr(to_pixels(restored), truth, scale), 4)
        report.put(row, "psnr_y", name)
    rows = list(report.figures["psnr_y"].values())
    for number_format in FORMATS[:-1]:
        change = np.mean([row[f"{number_format}_dB"] - row["fp32_dB"] for row in rows])
        report.put(round(float(change), 5), "mean_change_from_fp32_dB", number_format)


def test_suite(report: Report, *, quick: bool, seconds: float) -> None:
    """The tests marked `gpu`, then those of the operator and the networks, as pytest counts."""
    runs = {
        "marked_gpu": ["-m", "gpu"],
        "scan_and_networks": ["-m", "", "tests/selective_scan", "tests/networks"],
    }
    environment = {key: v for key, v in os.environ.items() if key != "TRITON_INTERPRET"}
    parallel = ["-n", "8"] if find_spec("xdist") and not quick else []
    for name, arguments in runs.items():
        if quick:
            arguments = ["tests/test_public_api.py"]  # noqa: PLW2901
        command = [sys.executable, "-m", "pytest", "-q", "--maxfail=20", *parallel, *arguments]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=seconds / len(runs),
                check=False,
            )
            lines = done.stdout.strip().splitlines()
        except subprocess.TimeoutExpired as error:
            lines = [(error.stdout or b"").decode()[-200:], "no end within the time given"]
        found = re.findall(r"(\d+) (passed|failed|errors?|skipped)", lines[-1])
        counts = {word: int(count) for count, word in found}
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20]
        report.put({"counts": counts, "last_line": lines[-1], "failed": failed}, name)
