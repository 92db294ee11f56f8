"""Compiles what the benchmark will launch, in parallel processes, before anything is measured.

The networks run on tensors that have a device and no memory (PyTorch's fake tensors), so it needs
no GPU: each launch goes through Triton's own launcher up to the compiler and not to the device, and
lands in Triton's cache under the key that the real launch looks for.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.scan import dispatch, triton_gpu
from mambair_cli.kernels.scan.triton_division import Processor, processor
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRUNetConfig, MambaIRv2Config
from mambair_cli.restoration.device import aligned
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from on_gpu.cases import LONG_SCAN_SHAPES, NETWORKS, SCAN_SHAPES, case_of, scan_inputs
from on_gpu.correctness import golden_config, golden_entries
from on_gpu.measure import FORMATS, computing, prepared
from on_gpu.sweep import REGISTERS, limited

if TYPE_CHECKING:
    from triton.runtime.jit import JITFunction

    from mambair_cli.networks.spec import NetworkConfig
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

H200 = Processor(132, 32, limits_registers=True)
ARCHITECTURE = 90  # compiled for where there is no GPU
QUICK_KERNELS = 3
MOST_PROCESSES = 14
OPERANDS = (torch.float32, torch.bfloat16, torch.float16)
FORMATS_COMPILED = ("bf16", "fp16", "fp32")  # TF32 is a matter of libraries
# Of the golden networks those that all others share their kernels with.
GOLDEN_NETWORKS = (
    "mambair_light_x2",
    "mambair_light_x4",
    "mambair_classic_x4",
    "mambair_denoise_color",
    "mambair_unet_real_denoise",
    "mambairv2_classic_x4",
    "mambairv2_light_x4",
)
Shape = tuple[int, int, int]
# Tiles in one run of a network: images, rows, columns.
SWEPT = "scan_chunks"
TILED = "bf16"
TILES = ((1, 64, 64), (16, 64, 64), (1, 256, 256), (4, 256, 256))


@dataclass(frozen=True)
class Pointer:
    """A tensor among the arguments of a launch: of it a kernel's code knows the type alone."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Call:
    """A recorded launch, to be sent to another process.

    Attributes:
        kernel: Module and name of the Triton function.
        values: Its arguments by position.
        named: Its further arguments and the launch's options.
        grid: Programs.
    """

    kernel: tuple[str, str]
    values: tuple[object, ...]
    named: tuple[tuple[str, object], ...]
    grid: tuple[int, ...]

    @property
    def function(self) -> JITFunction[Any]:
        """The Triton function."""
        module, name = self.kernel
        found: JITFunction[Any] = getattr(importlib.import_module(module), name)
        return found

    @property
    def key(self) -> tuple[object, ...]:
        """What the launches of one compilation have in common."""
        parameters = {parameter.name: parameter for parameter in self.function.params}
        arguments = dict(zip(parameters, self.values, strict=False)) | dict(self.named)
        described = (
            (name, _described(value, parameters.get(name))) for name, value in arguments.items()
        )
        return (self.kernel, *described)

    def compile(self) -> None:
        """Have Triton compile it, unless its cache has it."""
        # Memory of PyTorch's begins at a multiple of 64 bytes, on a GPU of 512.
        values = (
            torch.empty(1, dtype=value.dtype) if isinstance(value, Pointer) else value
            for value in self.values
        )
        self.function.run(*values, grid=self.grid, warmup=True, **dict(self.named))


def _described(value: object, parameter: Any) -> object:
    """What Triton compiles a kernel anew for; an option has no parameter."""
    if parameter is None or parameter.is_constexpr or not isinstance(value, int):
        return type(value).__name__ if isinstance(value, float) else value
    wide = abs(value) >= 2**31
    return wide if parameter.do_not_specialize else (value == 1, value % 16 == 0, wide)


class _NoDevice:
    """Triton's driver for a GPU that is not here."""

    def get_current_device(self) -> int:
        """The first one."""
        return 0

    def get_current_stream(self, _device: int) -> int:
        """The default one."""
        return 0

    def get_current_target(self) -> object:
        """What is compiled for."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", ARCHITECTURE, 32)


@contextmanager
def recorded(calls: list[Call], chip: Processor) -> Iterator[None]:
    """Records launches instead of making them, for tensors without memory.

    They are a CPU's, which PyTorch has everywhere: a kernel is compiled for types and alignment.
    """
    from triton.runtime.jit import JITFunction

    def run(kernel: Any, *values: Any, grid: tuple[int, ...], **named: Any) -> None:
        named.pop("warmup", None)
        values = tuple(Pointer(x.dtype) if isinstance(x, Tensor) else x for x in values)
        name = kernel.fn.__module__, kernel.fn.__name__
        calls.append(Call(name, values, tuple(named.items()), grid))

    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Asking a tensor without memory for its address, which is 0.
        warnings.simplefilter("ignore")
        # What is decided by the kind of device.
        stack.enter_context(patch.object(triton_gpu, "processor", lambda _: chip))
        for module, question in ((ops_gpu, "_keeps_accumulator"), (aligned, "on")):
            answer = patch.object(module, question, lambda _: chip.limits_registers)
            stack.enter_context(answer)
        stack.enter_context(patch.object(JITFunction, "run", run))
        stack.enter_context(FakeTensorMode())
        yield


def shallow(config: NetworkConfig) -> NetworkConfig:
    """A network of a single block, which launches what all of them do."""
    if isinstance(config, MambaIRUNetConfig):
        return replace(config, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
    groups = {"num_heads": config.num_heads[:1]} if isinstance(config, MambaIRv2Config) else {}
    return replace(config, depths=(1,), **groups)


def run_network(config: NetworkConfig, number_format: str, shapes: Sequence[Shape]) -> None:
    """Runs a network on batches of these images, rows and columns."""
    with unset_fake_temporarily(), torch.device("meta"):  # where nothing is drawn
        network = build_network(shallow(config)).eval()
    for module in network.modules():
        for name, x in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty(x.shape), requires_grad=False))
        for name, x in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(x.shape, dtype=x.dtype))
    set_scan_backend(network, dispatch.TRITON)
    run = prepared(network, number_format)
    with computing(number_format, torch.device("cpu")):
        for images, height, width in shapes:
            run(torch.empty(images, config.channels, height, width))


def run_scan(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Runs a scan, and its gradients unless it is long."""
    arguments = [
        torch.empty(x.shape, dtype=dtype if i < 2 else torch.float32)
        for i, x in enumerate(scan_inputs(shape))
    ]
    with torch.no_grad():
        planes = triton_gpu.selective_scan_2d(*arguments)
        if shape not in LONG_SCAN_SHAPES:
            triton_gpu.gradients(tuple(arguments), planes.float())


def runs(*, quick: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """What will be run, most important first: a name, and what records it."""
    for number_format in FORMATS[:1] if quick else FORMATS_COMPILED:
        for case in NETWORKS[: 1 if quick else None]:
            sized = case_of(case.name, quick=quick)
            tiles = TILES if number_format == TILED and not quick else ()
            shapes = ((1, sized.height, sized.width), *tiles)
            name = f"{case.name} {number_format}"
            yield name, partial(run_network, sized.config, number_format, shapes)
    if quick:
        return
    for dtype in OPERANDS:
        for shape in (*SCAN_SHAPES, *LONG_SCAN_SHAPES):
            yield f"scan {shape} {dtype}", partial(run_scan, shape, dtype)
    entries = golden_entries()
    for number_format in FORMATS_COMPILED:
        for name in GOLDEN_NETWORKS:
            config, (*_, height, width) = golden_config(entries[name]), entries[name]["input"]
            run = partial(run_network, config, number_format, ((1, height, width),))
            yield f"{name} {number_format}", run


def record(chip: Processor, refused: dict[str, str], *, quick: bool) -> Iterator[Call]:
    """Yields the launches that differ; `refused` is told what cannot be recorded, and why."""
    known = set()
    for name, run in runs(quick=quick):
        calls: list[Call] = []
        try:
            with recorded(calls, chip):
                run()
        except Exception as error:  # noqa: BLE001 - the rest is compiled all the same
            refused[name] = f"{type(error).__name__}: {error}"[:300]
        for call in chain.from_iterable(map(variants, calls)):
            if call.key not in known:
                known.add(call.key)
                yield call


def variants(call: Call) -> Iterator[Call]:
    """A launch and those that the sweep makes of it."""
    yield call
    if call.kernel[1] == SWEPT and Pointer(torch.bfloat16) in call.values:
        for registers in REGISTERS:
            yield replace(call, named=tuple(limited(dict(call.named), registers).items()))


def compile_call(call: Call, *, on_gpu: bool) -> str | None:
    """Compiles a launch, in any process; returns why it cannot be."""
    try:
        if not on_gpu:
            from triton.runtime import driver

            driver.set_active(_NoDevice())
        call.compile()
    except Exception as error:  # noqa: BLE001 - what launches it will say so again
        return f"{'.'.join(call.kernel)}: {type(error).__name__}: {error}"[:400]
    return None


def step(report: Report, settings: Settings) -> None:
    """Records in this process; compiles in as many as the machine has processors to spare."""
    count = 1 if settings.quick else max(1, min(MOST_PROCESSES, (os.cpu_count() or 1) - 2))
    refused: dict[str, str] = {}
    chip = processor(settings.device) if settings.on_gpu else H200
    calls = record(chip, refused, quick=settings.quick)
    if settings.quick:
        calls = islice(calls, QUICK_KERNELS)
    compiling = partial(compile_call, on_gpu=settings.on_gpu)
    processes = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=processes) as pool:
        outcomes = [outcome.result() for outcome in [pool.submit(compiling, c) for c in calls]]
    failed = [why for why in outcomes if why]
    report.put(count, "processes")
    report.put(len(outcomes) - len(failed), "compiled")
    report.put(failed, "failed")
    report.put(refused, "not_recorded")
