"""The steps of the GPU benchmark, most valuable first, and the functions that run them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from on_gpu.settings import Settings

OPERATOR = "operator"


@dataclass(frozen=True)
class Step:
    """A part of the benchmark.

    Attributes:
        kind: What is done, a key of `FUNCTIONS`.
        case: On which network, where it is about one.
        limit: Seconds after which it is stopped; on a CPU several times as many.
        beside: Name of the step that it is begun with, to be waited for in its turn only: it needs
            no GPU.
        process: Which process runs it; default: one for each network, one for all else.
    """

    kind: str
    case: str = ""
    limit: int = 60
    beside: str = ""
    process: str = ""

    @property
    def name(self) -> str:
        """Key of its result."""
        return f"{self.kind} {self.case}".strip()

    @property
    def runs_in(self) -> str:
        """Name of the process that runs it."""
        return self.process or self.case or OPERATOR


# Module and function of each kind.
FUNCTIONS = {
    "environment": ("environment", "step"),
    "ceilings": ("ceilings", "step"),
    "warm": ("warm", "step"),
    "build": ("peers", "build_step"),
    "tests": ("suite", "step"),
    "scans": ("correctness", "scans"),
    "networks": ("correctness", "networks"),
    "whole": ("speed", "whole"),
    "stages": ("speed", "stages"),
    "sweep": ("sweep", "step"),
    "peers": ("peers", "step"),
    "tiles": ("speed", "tiles"),
    "footprint": ("speed", "footprint"),
    "quality": ("quality", "step"),
    "recording": ("extremes", "recording"),
    "large": ("extremes", "large"),
    "counters": ("counters", "step"),
}

STEPS = (
    Step("environment", limit=60),
    Step("ceilings", limit=30),
    Step("warm", limit=60, process="compiler"),
    Step("tests", limit=75),
    Step("scans", limit=45),
    Step("networks", limit=30),
    Step("build", limit=60, beside="warm", process="builder"),
    Step("whole", "classic_x4", 40),
    Step("stages", "classic_x4", 25),
    Step("sweep", "classic_x4", 20, process=OPERATOR),
    Step("sweep", "light_x4", 15, process=OPERATOR),
    Step("peers", "classic_x4", 60),
    Step("whole", "light_x4", 30),
    Step("stages", "light_x4", 20),
    Step("peers", "light_x4", 45),
    Step("tiles", "classic_x4", 25),
    Step("tiles", "light_x4", 20),
    Step("whole", "denoise_colour", 30),
    Step("whole", "denoise_real_unet", 30),
    Step("whole", "v2_light_x4", 25),
    Step("whole", "v2_base_x4", 30),
    Step("footprint", "classic_x4", 12),
    Step("quality", limit=20),
    Step("recording", "denoise_real_unet", 25),
    Step("large", "classic_x4", 40),
    Step("counters", limit=40),
    Step("stages", "v2_light_x4", 20),
    Step("stages", "denoise_real_unet", 25),
    Step("peers", "v2_light_x4", 40),
    Step("peers", "denoise_real_unet", 60),
    Step("footprint", "light_x4", 12),
    Step("footprint", "denoise_real_unet", 15),
    Step("footprint", "v2_light_x4", 12),
    Step("stages", "denoise_colour", 25),
    Step("stages", "v2_base_x4", 25),
    Step("peers", "v2_base_x4", 60),
    Step("peers", "denoise_colour", 60),
    Step("tiles", "denoise_real_unet", 30),
    Step("tiles", "denoise_colour", 30),
)


def run_step(step: Step, settings: Settings) -> None:
    """Runs a step in this process; it writes its figures as it has them."""
    from on_gpu.measure import Report

    module, function = FUNCTIONS[step.kind]
    run = getattr(importlib.import_module(f"on_gpu.{module}"), function)
    report = Report(settings.folder / f"{step.name}.json")
    if step.case:
        from on_gpu.cases import case_of

        run(report, settings, case_of(step.case, quick=settings.quick))
    else:
        run(report, settings)
