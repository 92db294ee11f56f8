"""Measuring a set: every image counted once, means, and what does not fit is refused."""

import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mambair_cli.errors import UsageError
from mambair_cli.evaluation import speed
from mambair_cli.evaluation.benchmark import measure
from mambair_cli.evaluation.datasets import find_dataset
from mambair_cli.evaluation.examples import Example
from mambair_cli.evaluation.perceptual import Metric
from mambair_cli.evaluation.speed import measure_speed
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.restorer import RestoreOptions

NOISE = ModelSpec("denoise", "denoise", 1, 3, sigma=25)
OPTIONS = RestoreOptions(tile=0, precision="fp32")


class Gray(torch.nn.Module):
    """Answers with middle gray at twice the size or the same."""

    def __init__(self, scale=1):
        super().__init__()
        self.scale = scale
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        b, c, h, w = x.shape
        return torch.full((b, c, h * self.scale, w * self.scale), 0.5)


def examples(count, size=(40, 24)):
    images = [np.full((*size, 3), 20 * i % 256, np.uint8) for i in range(count)]
    return [Example(f"{i}", (), lambda image=image: image) for i, image in enumerate(images)]


def test_a_set_is_the_mean_of_its_images():
    told = []
    constant = Metric("half", lambda _, truth: float(truth.mean()))
    result = measure(
        Gray(),
        NOISE,
        find_dataset("CBSD68"),
        examples(3),
        OPTIONS,
        "paper",
        lambda image, pictures: told.append((image, pictures)),
        [constant],
    )
    errors = [(128 - value) ** 2 for value in (0, 20, 40)]
    assert [image.name for image in result.images] == ["0", "1", "2"]
    assert result.restored.psnr == pytest.approx(
        np.mean([10 * np.log10(255**2 / error) for error in errors])
    )
    assert result.further == {"half": pytest.approx(20)}
    assert [image for image, _ in told] == list(result.images)
    assert told[1][1].truth.max() == 20
    assert (told[1][1].restored == 128).all()
    assert result.inputs == "made"
    assert not result.complete
    assert result.peak_bytes > 2**20


def test_a_complete_set_is_told_from_a_part():
    result = measure(Gray(), NOISE, find_dataset("McMaster"), examples(18), OPTIONS, "whole")
    assert result.complete


def test_a_set_for_another_task_is_refused():
    with pytest.raises(UsageError, match="denoise is for denoise, Set5 measures sr") as caught:
        measure(Gray(), NOISE, find_dataset("Set5"), examples(1), OPTIONS, "paper")
    assert caught.value.hint == "choose one of: Urban100, CBSD68, Kodak24, McMaster"


def test_weights_that_hide_their_level_are_refused():
    spec = ModelSpec("mine", "denoise", 1, 3)
    with pytest.raises(UsageError, match="does not say which level"):
        measure(Gray(), spec, find_dataset("CBSD68"), examples(1), OPTIONS, "paper")


def test_speed_needs_no_images():
    spec = ModelSpec("sr", "sr", 2, 3)
    (row,) = measure_speed(Gray(2), spec, OPTIONS, [(30, 20)], 3)
    assert (row.width, row.height) == (30, 20)
    assert row.fastest <= row.seconds <= row.slowest
    assert row.megapixels_per_second == pytest.approx(30 * 20 * 4 / row.seconds / 1e6)


CPU = torch.device("cpu")
WITHOUT_RESOURCE = """
import sys
import psutil  # which has other modules for other systems
sys.modules["resource"] = None
import mambair_cli.evaluation.benchmark
from mambair_cli.cli.main import run
raise SystemExit(run(["bench", "--help"]))
"""


def test_bench_starts_where_python_has_no_resource_module():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RESOURCE],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--dataset" in done.stdout


def test_the_most_memory_is_in_bytes_on_every_system(monkeypatch):
    usage = SimpleNamespace(ru_maxrss=3000)
    monkeypatch.setattr(resource, "getrusage", lambda _: usage)
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=4000))
    monkeypatch.setattr(speed.psutil, "Process", lambda: process)
    found = {}
    for system in ("linux", "darwin", "win32"):
        monkeypatch.setattr(speed.sys, "platform", system)
        found[system] = speed.peak_bytes(CPU)
    assert found == {"linux": 3000 * 1024, "darwin": 3000, "win32": 4000}
