"""The GPU benchmark without a GPU: what it runs in which order, and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
from jsonschema import Draft202012Validator, ValidationError
from on_gpu.schedule import LEFT_OUT, RESERVE
from on_gpu.steps import FUNCTIONS, STEPS
from on_gpu.summary import summary

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "benchmarks" / "on_gpu" / "result.schema.json").read_text())
BARE = ROOT / "tests" / "support" / "bare_machine"
# What section by section decides most; later steps of the same kind are of other networks.
BY_VALUE = [
    "environment", "ceilings", "warm", "tests", "scans", "networks", "build", "whole classic_x4",
    "stages classic_x4", "sweep classic_x4", "peers classic_x4", "whole light_x4",
    "peers light_x4", "tiles classic_x4", "whole denoise_colour", "whole v2_light_x4",
    "footprint classic_x4", "quality", "recording denoise_real_unet", "large classic_x4",
    "counters", "peers v2_light_x4",
]  # fmt: skip


class Machine:
    """Stands for processes, a GPU and a clock: every step takes a share of its limit."""

    def __init__(self, share: float, broken: dict[str, dict] | None = None) -> None:
        self.share, self.broken = share, broken or {}
        self.now, self.begun, self.finished, self.stopped = 0.0, [], [], False

    def clock(self) -> float:
        return self.now

    def start(self, name):
        pass

    def begin(self, step):
        assert self.finished[-1] == "ceilings"  # and the next one is `warm`
        self.begun.append(step.name)

    def finish(self, step, seconds):
        self.finished.append(step.name)
        took = min(seconds, self.share * step.limit)
        self.now += took
        result = {"outcome": "done", "took_s": took, "figures": {}, "log": f"{step.name} ran"}
        if step.name in self.broken:
            figures = self.broken[step.name]
            result |= {"outcome": "failed", "error": "a kernel is wrong", "figures": figures}
        return result

    def stop(self):
        self.stopped = True


def dry_run(machine, tmp_path, *words):
    arguments = gpu.parse(["--output", str(tmp_path), "--commit", "0123abc", *words])
    target = gpu.target_of(arguments)
    result = gpu.run(arguments, target, tmp_path, lambda *_: machine, machine.clock)
    assert result == json.loads(target.read_text())
    assert machine.stopped
    return result


def check(result):
    Draft202012Validator(SCHEMA).validate(result)
    assert result["took_s"] <= result["budget_s"]
    assert result["left_out"] == [
        name for name, step in result["steps"].items() if step["outcome"] == LEFT_OUT
    ]
    assert summary(result)


def test_steps_are_run_by_value():
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    places = [names.index(name) for name in BY_VALUE]
    assert places == sorted(places)
    assert {step.kind for step in STEPS} == FUNCTIONS.keys()


def test_a_network_has_one_process():
    processes = {}
    for step in STEPS:
        if step.kind in {"whole", "stages", "tiles", "footprint", "peers", "large", "recording"}:
            processes.setdefault(step.case, set()).add(step.runs_in)
    assert len(processes) == 6
    assert all(names == {case} for case, names in processes.items())


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0, 1.5])
def test_the_budget_is_kept_by_leaving_out_the_last_steps(tmp_path, share):
    machine = Machine(share)
    result = dry_run(machine, tmp_path)
    check(result)
    assert machine.begun == ["build"]
    assert list(result["steps"]) == [step.name for step in STEPS]
    assert machine.now <= 520 - RESERVE
    if share == 0.1:
        assert result["left_out"] == []
    if share == 1.0:
        assert result["left_out"]
        assert not {"whole classic_x4", "peers classic_x4", "sweep light_x4"} & {
            *result["left_out"]
        }


def test_a_smaller_budget_leaves_out_more_and_nothing_runs_out_of_order(tmp_path):
    counts = []
    for budget in (20, 200, 520, 2000):
        machine = Machine(0.9)
        result = dry_run(machine, tmp_path, "--budget-s", str(budget))
        check(result)
        counts.append(len(result["left_out"]))
        order = [step.name for step in STEPS]
        assert machine.finished == [name for name in order if name in machine.finished]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 30
    assert counts[-1] == 0


def test_a_step_that_fails_leaves_the_figures_of_all_others(tmp_path):
    half = {"whole": {"bf16": {"launched": {"median_ms": 51.25}}}}
    result = dry_run(Machine(0.1, broken={"warm": {}, "whole classic_x4": half}), tmp_path)
    check(result)
    assert result["steps"]["whole classic_x4"]["figures"] == half
    assert "51.25" in summary(result)
    outcomes = [step["outcome"] for step in result["steps"].values()]
    assert outcomes.count("failed") == 2
    assert outcomes.count("done") == len(STEPS) - 2
    assert "a kernel is wrong" in summary(result)


def test_only_some_steps_run(tmp_path):
    result = dry_run(Machine(0.1), tmp_path, "--only", "whole,peers light_x4", "--name", "h200")
    assert (tmp_path / "gpu_h200.json").exists()
    names = list(result["steps"])
    assert names[0] == "whole classic_x4"
    assert len(names) == 7
    with pytest.raises(SystemExit):
        gpu.parse(["--only", "wohle"])


def test_the_schema_can_refuse(tmp_path):
    result = dry_run(Machine(0.1), tmp_path)
    for change in (
        {"steps": {"a": {"outcome": "done"}}},
        {"steps": {"a": {"outcome": "failed", "took_s": 1, "figures": {}, "log": ""}}},
        {"left_out": "none"},
        {"more": 1},
    ):
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(result | change)


def run_bare(tmp_path, *words):
    """Runs the benchmark where only what a GPU's machine has can be imported."""
    environment = os.environ | {"PYTHONPATH": str(BARE), "TRITON_CACHE_DIR": str(tmp_path / "t")}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--device", "cpu", "--quick",
         "--output", tmp_path, "--commit", "0123abc", *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu_cpu_quick.json").read_text())
    check(result)
    return result


def errors_in(figures):
    """Every reason why a figure is missing."""
    if not isinstance(figures, dict):
        return []
    own = [figures["error"]] if "error" in figures else []
    return own + [error for value in figures.values() for error in errors_in(value)]


def test_nothing_on_its_path_needs_more_than_a_bare_machine_has():
    modules = sorted({f"on_gpu.{module}" for module, _ in FUNCTIONS.values()})
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
        f"import gpu, {', '.join(modules)}\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('pyvips') is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(BARE)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_bare_machine_gives_every_figure_it_can(tmp_path):
    result = run_bare(tmp_path)
    assert result["left_out"] == []
    assert {name for name, step in result["steps"].items() if step["outcome"] != "done"} == set()
    # Tiles are planned from the memory of a CPU, which psutil tells; that of a GPU PyTorch tells.
    errors = {error for step in result["steps"].values() for error in errors_in(step["figures"])}
    assert errors <= {"ModuleNotFoundError: No module named 'psutil'"}
    figures = {name: step["figures"] for name, step in result["steps"].items()}
    assert figures["warm"]["compiled"] == 3
    assert all(row["exit_status"] == 0 for row in figures["tests"].values())
    for shapes in figures["scans"]["triton"].values():
        assert all(row["passes"] for row in shapes.values())
    assert all(row["passes"] for row in figures["networks"].values())
    for case in ("classic_x4", "denoise_real_unet", "v2_base_x4"):
        assert figures[f"whole {case}"]["whole"]["fp32"]["launched"]["median_ms"] > 0
        assert figures[f"stages {case}"]["stages"]["fp32"]
    assert figures["sweep light_x4"]["fastest"]
    assert figures["quality"]["psnr_y_dB"]["samples"]["astronaut"]["fp32"] > 15
    log = (tmp_path / "gpu_cpu_quick.log").read_text()
    assert all(f"== {step.name}: done" in log for step in STEPS)
    assert "tests collected" in result["steps"]["tests"]["log"]
