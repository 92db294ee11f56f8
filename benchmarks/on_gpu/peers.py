"""The networks to beat: the authors' MambaIR with mamba-ssm's CUDA kernel, and SwinIR.

`peers.sh` fills a folder with their sources; `gpu.py --peers` names it. Of mamba-ssm's kernel only
what inference calls is built, the forward pass in float32 with real weights, for the GPU that is
here. The authors' files run as they are; what they import and inference does not need (basicsr's
registry, timm's layers) is stood in for.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from mambair_cli.kernels.scan import reference
from mambair_cli.networks.mambair_v2 import MambaIRv2
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config, NetworkConfig
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from on_gpu.measure import (
    DEFAULT,
    Report,
    Run,
    computing,
    prepared,
    relative_error,
    release,
)
from on_gpu.speed import formats_of, time_whole, ways_of

if TYPE_CHECKING:
    from on_gpu.cases import Case
    from on_gpu.settings import Settings

FILL = "benchmarks/on_gpu/peers.sh fills it"
KERNEL = "selective_scan_cuda"
CXX_FLAGS = ["-O3", "-std=c++17"]
# Those of mamba-ssm's setup.py, for one architecture instead of nine.
NVCC_FLAGS = [
    *CXX_FLAGS,
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT16_OPERATORS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT162_OPERATORS__",
    "-U__CUDA_NO_BFLOAT162_CONVERSIONS__",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--use_fast_math",
    "-lineinfo",
]
HEADERS = (
    "<cuda_runtime_api.h>",
    "<c10/util/BFloat16.h>",
    "<c10/util/Exception.h>",
    "<c10/util/Half.h>",
    "<c10/util/complex.h>",
    '"selective_scan.h"',
)
TYPES = ("float", "c10::Half", "c10::BFloat16")
WEIGHTS = ("float", "c10::complex<float>")
PASSES = {"fwd": "SSMParamsBase", "bwd": "SSMParamsBwd"}
# Whose template is built of each pass; training's is slow to compile and never called.
BUILT = {"fwd": ("float", "float")}
AGREEMENT = 1e-4
THEIR_FORMATS = ("fp16", DEFAULT, "tf32", "fp32")
SWINIR = {"classic_x4": (180, "pixelshuffle", 6), "light_x4": (60, "pixelshuffledirect", 4)}


def write_sources(folder: Path) -> list[Path]:
    """Writes the units that instantiate the forward kernel for float32 and refuse the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    refusals = [f"#include {header}" for header in HEADERS]
    sources = []
    for name, parameters in PASSES.items():
        signature = f"void selective_scan_{name}_cuda"
        if name in BUILT:
            unit = folder / f"{name}_float.cu"
            unit.write_text(
                f'#include "selective_scan_{name}_kernel.cuh"\n'
                f"template {signature}<{', '.join(BUILT[name])}>({parameters} &, cudaStream_t);\n"
            )
            sources.append(unit)
        refusals.append(
            f"template <typename input_t, typename weight_t>\n{signature}"
            f'({parameters} &, cudaStream_t) {{ TORCH_CHECK(false, "forward in float32 only"); }}'
        )
        refusals += [
            f"template {signature}<{kind}, {weight}>({parameters} &, cudaStream_t);"
            for kind in TYPES
            for weight in WEIGHTS
            if (kind, weight) != BUILT.get(name)
        ]
    others = folder / "refused.cpp"
    others.write_text("\n".join(refusals) + "\n")
    return [*sources, others]


def build_step(report: Report, settings: Settings) -> None:
    """Builds the kernel, where its sources and a GPU are."""
    if not settings.on_gpu or not (settings.peers / "mamba").is_dir():
        report.put({"skipped": f"no GPU, or {settings.peers.name}/ is empty; {FILL}"}, "build")
        return
    report.attempt(partial(build, settings.peers), "build")


def build(peers: Path) -> str:
    """Builds mamba-ssm's kernel into `build` of the folder, unless it was built there before."""
    from torch.utils.cpp_extension import load

    csrc, target = peers / "mamba" / "csrc" / "selective_scan", peers / "build"
    sources = [csrc / "selective_scan.cpp", *write_sources(target)]
    (target / "lock").unlink(missing_ok=True)  # of a build that was stopped
    os.environ.setdefault("MAX_JOBS", "8")
    major, minor = torch.cuda.get_device_capability()
    os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
    load(
        KERNEL,
        sources=[str(path) for path in sources],
        extra_cflags=CXX_FLAGS,
        extra_cuda_cflags=NVCC_FLAGS,
        extra_include_paths=[str(csrc)],
        build_directory=str(target),
    )
    return "built"


def install(peers: Path, device: torch.device) -> str | None:
    """Makes mamba-ssm importable; on a CPU the reference computes for its kernel.

    Returns:
        Why it cannot be, or None.
    """
    sources, target = peers / "mamba" / "mamba_ssm", peers / "build"
    if not sources.is_dir():
        return f"{peers.name}/ is empty; {FILL}"
    if device.type == "cuda":
        if not (target / f"{KERNEL}.so").exists():
            return "mamba-ssm's kernel was not built"
        sys.path.insert(0, str(target))
    else:
        stand_in = types.ModuleType(KERNEL)
        stand_in.fwd = _forward_by_definition  # type: ignore[attr-defined]
        sys.modules[KERNEL] = stand_in
    # Its own __init__ imports language models and all they need.
    package = types.ModuleType("mamba_ssm")
    version = re.search(r'"(.+)"', (sources / "__init__.py").read_text())
    package.__version__ = version.group(1) if version else ""  # type: ignore[attr-defined]
    package.__path__ = [str(sources)]
    package.__spec__ = ModuleSpec("mamba_ssm", None, is_package=True)
    sys.modules["mamba_ssm"] = package
    return None


def _forward_by_definition(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    bias: Tensor,
    softplus: bool,
) -> tuple[Tensor, Tensor]:
    if z is not None or not softplus:
        raise NotImplementedError("the network calls it with softplus and without z")
    y = reference.selective_scan(u, delta, A, B, C, D, bias)
    return y, y.new_zeros(*u.shape[:2], 1, 2 * A.shape[1])


def _stand_in_for_unused_imports() -> None:
    """Modules of basicsr and timm with the few names that the authors' files ask for."""
    layers = {
        "DropPath": _Kept,
        "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
        "trunc_normal_": nn.init.trunc_normal_,
    }
    registry = {"ARCH_REGISTRY": types.SimpleNamespace(register=lambda: lambda cls: cls)}
    named = {
        "timm.models.layers": layers,
        "basicsr.utils.registry": registry,
        "basicsr.archs.arch_util": layers,
    }
    for name, contents in named.items():
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            parent = ".".join(parts[:length])
            sys.modules.setdefault(parent, types.ModuleType(parent))
        sys.modules[name].__dict__.update(contents)


class _Kept(nn.Identity):
    """Stochastic depth in evaluation: nothing."""

    def __init__(self, *_: object) -> None:
        super().__init__()


def _import(path: Path) -> types.ModuleType:
    """Imports one of the authors' files on its own."""
    _stand_in_for_unused_imports()
    sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)


def authors_network(config: NetworkConfig, peers: Path) -> nn.Module:
    """The authors' network of a configuration, on the CPU."""
    values = {name: getattr(config, name) for name in type(config).__dataclass_fields__}
    archs = peers / "mambair" / "basicsr" / "archs"
    if isinstance(config, MambaIRv2Config):
        name = "MambaIRv2Light" if values.pop("light") else "MambaIRv2"
        module = _import(archs / f"{name.lower()}_arch.py")
        network = getattr(module, name)(img_size=64, **values)
    elif isinstance(config, MambaIRConfig):
        network = _import(archs / "mambair_arch.py").MambaIR(img_size=64, **values)
    else:
        folder = peers / "mambair/realDenoising/basicsr/models/archs"
        if values.pop("d_state") != 16:
            raise ValueError("the authors' U-Net has 16 states")
        network = _import(folder / "mambairunet_arch.py").MambaIRUNet(**values)
    return network.eval().requires_grad_(False)


def swinir(case: Case, device: torch.device, peers: Path) -> tuple[nn.Module, list[Tensor]]:
    """SwinIR of the same class, fresh weights, and inputs padded to its windows.

    Its attention masks are made for the input's size beforehand, not in every pass.
    """
    channels, upsampler, groups = SWINIR[case.name]
    groups, channels = (1, 12) if case.quick else (groups, channels)
    inputs = [
        nn.functional.pad(x, (0, -case.width % 8, 0, -case.height % 8), mode="reflect")
        for x in case.inputs(device)
    ]
    network = _import(peers / "swinir/models/network_swinir.py").SwinIR(
        upscale=4,
        img_size=tuple(inputs[0].shape[2:]),
        window_size=8,
        img_range=1.0,
        depths=[6] * groups,
        embed_dim=channels,
        num_heads=[6] * groups,
        mlp_ratio=2,
        upsampler=upsampler,
        resi_connection="1conv",
    )
    return network.eval().requires_grad_(False).to(device), inputs


def step(report: Report, settings: Settings, case: Case) -> None:
    """One case: agreement in float32, then the times of theirs and ours, in this process."""
    device = settings.device
    if reason := install(settings.peers, device):
        report.put({"skipped": reason}, "peers")
        return
    ours, inputs = case.network(device, settings.scan), case.inputs(device)

    def timed(network: Run, number_format: str, *, graph: bool = False) -> dict[str, float]:
        release()
        with computing(number_format, device):
            return time_whole(network, inputs, graph=graph)

    theirs = authors_network(case.config, settings.peers)
    # Of the second version their files hold an index too, which ours makes itself.
    theirs.load_state_dict(ours.state_dict(), strict=not isinstance(case.config, MambaIRv2Config))
    theirs.to(device)
    report.attempt(partial(_agreement, ours, theirs, inputs[0]), "agreement")
    for number_format in formats_of(settings, case):
        run = prepared(ours, number_format)
        for how, graph in ways_of(settings, case):
            report.attempt(
                partial(timed, run, number_format, graph=graph), "ours", number_format, how
            )
    for number_format in THEIR_FORMATS if settings.on_gpu else THEIR_FORMATS[-1:]:
        report.attempt(partial(timed, theirs, number_format), "authors", number_format)
        report.attempt(partial(ratios, report.figures), "ratios")
    theirs.cpu()
    if settings.on_gpu:
        report.attempt(partial(_with_their_kernel, ours, timed), "ours with mamba-ssm")
    if case.name in SWINIR:
        report.attempt(partial(_time_swinir, case, settings), "swinir")


def _with_their_kernel(ours: nn.Module, timed: Callable[..., dict[str, float]]) -> dict[str, float]:
    set_scan_backend(ours, "mamba-ssm")
    return timed(prepared(ours, "bf16"), "bf16")


def _agreement(ours: nn.Module, theirs: nn.Module, x: Tensor) -> dict[str, object]:
    """Of the second version both draw classes alike, and sort pixels of one class alike."""
    x, results = x[:, :, :96, :128], []
    stable = patch.object(torch, "sort", partial(_stably, torch.sort))
    if isinstance(ours, MambaIRv2):
        ours.sample_classes(sampled=True)  # as the authors' code does always
    with computing("fp32", x.device), stable:
        for network in (ours, theirs):
            torch.manual_seed(10)
            results.append(network(x))
    if isinstance(ours, MambaIRv2):
        ours.sample_classes(sampled=False)
    error = relative_error(*results)
    return {"agrees": error < AGREEMENT, "relative_error": error}


def _stably(sort: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return sort(*arguments, **named | {"stable": True})


def _time_swinir(case: Case, settings: Settings) -> dict[str, object]:
    device = settings.device
    network, inputs = swinir(case, device, settings.peers)
    rows: dict[str, object] = {}
    with computing(DEFAULT, device):
        rows[DEFAULT] = time_whole(network, inputs)
        if device.type == "cuda":
            rows["fp16"] = time_whole(network.half(), [x.half() for x in inputs])
    return rows


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """How many times as fast ours is, and how many times less memory it takes at its peak."""
    ours = {f: rows["launched"] | rows.get("graph", {}) for f, rows in figures["ours"].items()}
    found = {}
    for their_format, ours_format in (("fp16", "bf16"), (DEFAULT, "bf16"), ("fp32", "fp32")):
        theirs, mine = figures["authors"].get(their_format, {}), ours.get(ours_format, {})
        if "median_ms" not in theirs or "median_ms" not in mine:
            continue
        pair = f"authors_{their_format}_over_ours_{ours_format}"
        found[f"{pair}_time"] = round(theirs["median_ms"] / mine["median_ms"], 2)
        if "peak_allocated_MiB" in theirs:
            launched = figures["ours"][ours_format]["launched"]
            memory = theirs["peak_allocated_MiB"] / launched["peak_allocated_MiB"]
            found[f"{pair}_memory"] = round(memory, 2)
    return found
