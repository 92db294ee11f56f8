"""What only runs on a GPU, as far as a CPU that passes for one gets through it."""

from __future__ import annotations

import json

import pytest
from on_gpu.settings import Settings
from on_gpu.steps import STEPS, run_step

pytestmark = pytest.mark.slow


class Disguised(Settings):
    """A CPU that says it is a GPU."""

    @property
    def on_gpu(self) -> bool:
        return True

    @property
    def scan(self) -> str:
        return "torch"


@pytest.fixture
def figures_of(tmp_path):
    settings = Disguised("cpu", quick=True, folder=tmp_path, peers=tmp_path / "none")

    def run(name):
        run_step(next(step for step in STEPS if step.name == name), settings)
        return json.loads((tmp_path / f"{name}.json").read_text())

    return run


def test_networks_in_every_format(figures_of):
    figures = figures_of("networks")
    assert {name[:9] for name in figures} == {"mambair_l", "mambairv2"}
    for row in figures.values():
        assert row["passes"]
        errors = row["relative_errors"]
        assert set(errors) == {"bf16", "fp16", "tf32", "fp32", "fp32_against_published"}
        assert errors["fp32"] < errors["fp16"] < errors["bf16"]


def test_formats_graphs_and_the_other_scan_are_timed(figures_of):
    figures = figures_of("whole light_x4")
    assert list(figures["whole"]) == ["bf16", "fp16", "tf32", "fp32"]
    assert all(set(row) == {"launched", "graph"} for row in figures["whole"].values())
    assert figures["backends_bf16"]["torch"]["median_ms"] > 0
    assert figures_of("peers light_x4") == {
        "peers": {"skipped": "none/ is empty; benchmarks/on_gpu/peers.sh fills it"}
    }


def test_what_short_formats_change_is_averaged_by_set(figures_of):
    figures = figures_of("quality")
    (row,) = figures["psnr_y_dB"]["samples"].values()
    changes = figures["mean_change_from_fp32_dB"]["samples"]
    assert changes["tf32"] == 0
    assert changes["bf16"] == pytest.approx(row["bf16"] - row["fp32"], abs=1e-4)


def test_a_figure_that_fails_says_why_and_the_others_stay(figures_of):
    figures = figures_of("recording denoise_real_unet")
    assert figures["engine"]["19x13"]["relative_errors"] == [0.0]
    assert figures["by force"]["19x13"]["error"].startswith("RuntimeError")
    assert figures["memory_released_MiB"] == 0
    assert set(figures_of("large classic_x4")["whole"]) >= {"finite", "corner_relative_difference"}
    assert "error" in figures_of("environment")["gpu"]
