"""What can be said of the GPU kernels without a GPU: their machine code, and a prediction.

    python benchmarks/gpu_static.py [--targets sm_90,sm_80,sm_75,gfx942] [--output FILE]

The steps of a block run on tensors without values, and what they would launch is recorded, then
compiled. Registers, spills, shared memory and the instructions of the innermost loop are facts of
that compilation. Milliseconds are predictions, not measured: of an ideal GPU that only the busiest
unit limits, or the busiest unit of the scheduler that has most warps.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from hardware import describe_commit
from on_gpu.block_steps import steps_of
from on_gpu.cases import NETWORKS, Case
from on_gpu.floors import census
from on_gpu.machine_code import EXPONENTIAL, Loop, loops_of, resources_amd, resources_nvidia
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from mambair_cli.kernels.block import ops_gpu
from mambair_cli.kernels.scan import triton_gpu
from mambair_cli.kernels.scan.triton_division import (
    EARLIER_CHUNK,
    ONE_WARP,
    SCHEDULERS,
    Processor,
    Program,
)
from mambair_cli.networks.spec import MambaIRUNetConfig

RESULT = Path(__file__).parent / "results" / "gpu_static.json"
TARGETS = {
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_75": GPUTarget("cuda", 75, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# b, h, w, d, n, r of crops in training, and ways to cut the channels; the first is what is run.
BACKWARD_SHAPES = {
    "classic": (4, 64, 64, 360, 16, 12),
    "light": (4, 64, 64, 72, 10, 4),
    "colour denoising": (4, 64, 64, 216, 16, 12),
    "U-Net level 3": (4, 32, 32, 288, 16, 12),
    "U-Net level 4": (4, 16, 16, 576, 16, 24),
}
BACKWARD_WAYS = {"as run": ONE_WARP, "two warps": (Program(2, 2),), "one channel": (Program(1, 1),)}
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Chip:
    """What predictions assume of a GPU.

    Attributes:
        multiprocessors: How many.
        clock: GHz, under load.
        cycles: Cycles that a warp's instruction keeps each unit of a quarter multiprocessor busy;
            `issue` counts all instructions.
    """

    multiprocessors: int = 132
    clock: float = 1.98
    cycles: tuple[tuple[str, float], ...] = (
        ("issue", 1),
        ("special function", 8),
        ("float32", 1),
        ("integer", 2),
        ("integer multiply", 2),
        ("memory", 4),
        ("shared memory", 4),
        ("shuffle", 4),
    )


H200 = Chip()


@dataclass(frozen=True)
class Launch:
    """A recorded launch: what identifies the compiled kernel, and its grid.

    Attributes:
        kernel: The Triton function.
        signature: Type of each argument, `constexpr` for constants.
        constants: Values of the constants, by position.
        aligned: Positions of the arguments that 16 divides.
        warps: Of a program.
        registers: Most of a lane, None where the compiler decides.
        grid: Programs.
        step: The step of the network that it belongs to.
        tokens: How many positions a program of the scan walks, 0 for other kernels.
    """

    kernel: Any
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[int, Any], ...]
    aligned: tuple[int, ...]
    warps: int
    registers: int | None
    grid: tuple[int, ...]
    step: str
    tokens: int

    @property
    def named_constants(self) -> dict[str, Any]:
        """Values of the constants, by name."""
        return {self.kernel.params[position].name: value for position, value in self.constants}

    @property
    def warps_launched(self) -> int:
        """Warps of all programs."""
        return torch.Size(self.grid).numel() * self.warps


def specialise(kernel: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The signature that Triton's launcher would compile a kernel for."""
    signature, constants, aligned = [], [], []
    for position, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        whole = isinstance(value, int) and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (whole and value == 1):
            kind = "constexpr"
            constants.append((position, value))
        elif isinstance(value, Tensor):
            kind = f"*{TYPES[value.dtype]}"
            aligned.append(position)
        elif isinstance(value, int):
            kind = "i32" if abs(value) < 2**31 else "i64"
            if whole and value % 16 == 0:
                aligned.append(position)
        else:
            kind = "fp32"
        signature.append((parameter.name, kind))
    return {
        "signature": tuple(signature),
        "constants": tuple(constants),
        "aligned": tuple(aligned),
    }


@contextmanager
def recorded(launches: list[Launch], step: str) -> Iterator[None]:
    """Records launches instead of making them; divides work as for the predicted GPU."""

    def run(kernel: Any, *values: Any, grid: tuple[int, ...], **named: Any) -> None:
        warps, registers = named.pop("num_warps", 4), named.pop("maxnreg", None)
        named.pop("warmup", None)
        names = [parameter.name for parameter in kernel.params]
        arguments = dict(zip(names, values, strict=False)) | named
        tokens = arguments.get("chunk_length", 0)
        kind = specialise(kernel, arguments)
        made = {"warps": warps, "registers": registers, "grid": grid, "step": step}
        launches.append(Launch(kernel, tokens=tokens, **made, **kind))

    chip = Processor(H200.multiprocessors, 32, limits_registers=True)
    with (
        patch.object(JITFunction, "run", run),
        patch.object(triton_gpu, "processor", lambda _: chip),
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),  # meta has none
        torch.device("meta"),
    ):
        yield


def launches_of(case: Case, dtype: torch.dtype) -> list[Launch]:
    """What one block launches, in order."""
    launches: list[Launch] = []
    with torch.device("meta"):
        steps = list(steps_of(case, dtype))
    with patch.object(ops_gpu, "_matrix_dtype", lambda _: dtype), torch.no_grad():
        for name, step in steps:
            with recorded(launches, name):
                step()
    return launches


def compiled(launch: Launch, target: GPUTarget) -> Any:
    """Compiles a recorded launch for a target."""
    source = ASTSource(
        fn=launch.kernel,
        signature=dict(launch.signature),
        constexprs={(position,): value for position, value in launch.constants},
        attrs={(position,): [["tt.divisibility", 16]] for position in launch.aligned},
    )
    options = {"num_warps": launch.warps}
    if launch.registers is not None and target.backend == "cuda":
        options["maxnreg"] = launch.registers
    return triton.compile(source, target=target, options=options)


def walking_loop(launch: Launch, loops: list[Loop]) -> tuple[Loop, int]:
    """The loop in which a scan's program walks its tokens, and how many an iteration takes.

    A token takes an exponential for each state of a lane's channels, and one for each step.
    """
    channels = launch.named_constants["BLOCK"] // (32 * launch.warps)
    each = channels * (launch.named_constants["N"] + 1)
    for loop in loops:
        tokens, rest = divmod(loop.opcodes[EXPONENTIAL], each)
        if tokens and not rest:
            return loop, tokens
    raise ValueError(f"no loop of {launch.kernel.__name__} takes whole tokens")


def predicted_ms(launch: Launch, loop: Loop, tokens: int, chip: Chip) -> dict[str, float]:
    """Milliseconds that each unit of an ideal GPU is busy with the scan's loop.

    Warps launched, times iterations of the loop, times cycles of the iteration's instructions on
    the unit, over four schedulers on each multiprocessor and the clock.
    """
    iterations = launch.warps_launched * launch.tokens / tokens
    rate = 4 * chip.multiprocessors * chip.clock * 1e6
    counts = {**loop.units, "issue": loop.instructions}
    return {
        unit: round(counts.get(unit, 0) * iterations * each / rate, 4)
        for unit, each in chip.cycles
        if unit in counts
    }


def as_cut_ms(launch: Launch, ideal: dict[str, float], chip: Chip) -> float:
    """Milliseconds of the scan's pass if the busiest unit of the busiest scheduler never waits.

    Schedulers have whole warps, all programs run in one wave, and the second pass takes in the
    chunks before its own.
    """
    programs = torch.Size(launch.grid).numel()
    turns = math.ceil(math.ceil(programs / chip.multiprocessors) * launch.warps / SCHEDULERS)
    even = launch.warps_launched / (SCHEDULERS * chip.multiprocessors)
    earlier = EARLIER_CHUNK * (launch.grid[1] - 1) if launch.named_constants["WRITE_PLANES"] else 0
    return round(max(ideal.values()) * turns / even * (1 + earlier / launch.tokens), 4)


def describe(launch: Launch, target: str) -> dict[str, Any]:
    """Facts of one launch compiled for one target, and the scan's prediction on the first."""
    kernel = compiled(launch, TARGETS[target])
    if TARGETS[target].backend == "hip":
        return resources_amd(kernel.asm["amdgcn"])
    row: dict[str, Any] = resources_nvidia(kernel.asm["cubin"])
    granted = -(-row["registers"] // 8) * 8 * 32
    row["resident_warps_by_registers"] = min(64, 65536 // granted // launch.warps * launch.warps)
    loops = loops_of(kernel.asm["cubin"])
    if launch.tokens:
        loop, tokens = walking_loop(launch, loops)
        row |= {
            "loop_tokens": tokens,
            "loop_instructions": loop.instructions,
            "loop_instructions_by_unit": loop.units,
        }
        if target == "sm_90":
            row["predicted_ms_by_unit"] = predicted_ms(launch, loop, tokens, H200)
            row["predicted_ms_as_cut"] = as_cut_ms(launch, row["predicted_ms_by_unit"], H200)
    return row


def describe_case(case: Case, dtype: torch.dtype, targets: list[str]) -> dict[str, Any]:
    """All launches of a block, and the predicted time of its scan."""
    rows: dict[str, Any] = {}
    for launch in launches_of(case, dtype):
        # A kernel that a step launches twice differs in a constant.
        known = sum(key.startswith(f"{launch.step}: {launch.kernel.__name__}") for key in rows)
        name = f"{launch.step}: {launch.kernel.__name__}" + (f" {known + 1}" if known else "")
        rows[name] = {
            "grid": list(launch.grid),
            "warps": launch.warps,
            "tokens_of_a_program": launch.tokens or None,
            "constants": launch.named_constants,
            "targets": {target: describe(launch, target) for target in targets},
        }
        print(f"{case.name} {TYPES[dtype]} {name}", flush=True)
    return {"launches": rows} | summary(case, rows)


def summary(case: Case, rows: dict[str, Any]) -> dict[str, Any]:
    """The scan's floor, each exponential once, and predictions; nothing here is measured."""
    found = [row["targets"].get("sm_90", {}) for row in rows.values()]
    passes = [facts for facts in found if "predicted_ms_by_unit" in facts]
    ideal = sum(max(facts["predicted_ms_by_unit"].values()) for facts in passes)
    as_cut = sum(facts["predicted_ms_as_cut"] for facts in passes)
    if isinstance(case.config, MambaIRUNetConfig):
        raise TypeError(f"{case.name} has blocks of several sizes")
    blocks = sum(case.config.depths)
    exponentials = census(case.config, case.height, case.width)["scan"].exponentials
    special = dict(H200.cycles)["special function"]
    rate = SCHEDULERS * H200.multiprocessors * 32 / special * H200.clock * 1e6
    return {
        "floor_scan_ms_of_the_network": round(exponentials / rate, 3),
        "predicted_scan_ms_of_a_block": round(ideal, 4),
        "predicted_scan_ms_of_the_network": round(blocks * ideal, 3),
        "predicted_scan_ms_of_the_network_as_cut": round(blocks * as_cut, 3),
        "measured_scan_ms_of_the_network": "not measured",
    }


def gradients_of(shape: tuple[int, ...], programs: tuple[Program, ...]) -> dict[str, Any]:
    """Facts of the longest kernel of the scan's gradients: an iteration takes one token a lane."""
    (b, h, w, d, n, r), launches = shape, list[Launch]()
    with torch.device("meta"):
        u, projected = torch.empty(b, h, w, d), torch.empty(b, h, w, 4 * (r + 2 * n))
        parameters = [torch.empty(4, d, *rest) for rest in ((r,), (), (n,), ())]
        dy = torch.empty(b, h, w, d, dtype=torch.bfloat16).expand(4, -1, -1, -1, -1)
    half = (u.bfloat16(), projected.bfloat16())
    with recorded(launches, "gradients"), patch.object(triton_gpu, "ONE_WARP", programs):
        triton_gpu.gradients((*half, *parameters), dy)
    launch = next(each for each in launches if each.kernel.__name__ == "scan_gradients")
    kernel = compiled(launch, TARGETS["sm_90"])
    # Of its own exponentials, and the two of the softplus and its derivative, for each channel.
    channels = launch.named_constants["BLOCK"] // (32 * launch.warps)
    loops = loops_of(kernel.asm["cubin"])
    backward = next(x for x in loops if x.opcodes[EXPONENTIAL] == channels * (n + 2))
    recording = next(x for x in loops if x.opcodes[EXPONENTIAL] == channels * (n + 1))
    return {
        "channels_of_a_lane": channels,
        "warps": launch.warps,
        **resources_nvidia(kernel.asm["cubin"]),
        "instructions_of_64_channels": sum(
            loop.instructions * 2 // channels for loop in (recording, backward)
        ),
        "instructions_of_all_channels": sum(
            loop.instructions * launch.grid[0] * launch.warps for loop in (recording, backward)
        ),
        "local_loads_of_64_channels": sum(
            count * 2 // channels
            for loop in (recording, backward)
            for name, count in loop.opcodes.items()
            if name.startswith("LDL")
        ),
    }


def main() -> None:
    """Compiles the launches of the networks whose blocks are all of one size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--targets", default=",".join(TARGETS), help="for the first network")
    parser.add_argument(
        "--networks", default="classic_x4,light_x4,denoise_colour,v2_light_x4,v2_base_x4"
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "commit": describe_commit(),
        "triton": triton.__version__,
        "prediction_assumes": asdict(H200) | {"unit_cycles": dict(H200.cycles)},
        "networks": {},
    }
    del result["prediction_assumes"]["cycles"]
    targets = arguments.targets.split(",")
    names = arguments.networks.split(",")
    for name in names:
        case = next(case for case in NETWORKS if case.name == name)
        for dtype in (torch.bfloat16, torch.float32):
            wanted = targets if (name, dtype) == (names[0], torch.bfloat16) else targets[:1]
            key = f"{name} {TYPES[dtype]}"
            result["networks"][key] = describe_case(case, dtype, wanted)
            arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    result["gradients"] = {
        f"{name}, {way}": gradients_of(shape, programs)
        for name, shape in BACKWARD_SHAPES.items()
        for way, programs in BACKWARD_WAYS.items()
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    for key, row in result["networks"].items():
        predicted = row["predicted_scan_ms_of_the_network_as_cut"]
        print(f"{key}: scan {predicted} ms predicted on an H200, not measured")
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
