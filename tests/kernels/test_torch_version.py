"""A torch that is too old is named before anything else fails."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mambair_cli.errors import BackendError
from mambair_cli.kernels import LEAST_TORCH, check_torch

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
OLD = "import sys, torch\ntorch.__version__ = '2.6.0+cu124'\n"
MESSAGE = "torch 2.6.0+cu124 is too old: mambair needs 2.7 or a newer one"


@pytest.mark.parametrize("version", ["2.6.0+cu124", "2.0.1", "1.13.1"])
def test_an_old_torch_is_refused_with_the_command_that_helps(version):
    with pytest.raises(BackendError) as caught:
        check_torch(version)
    assert caught.value.message == f"torch {version} is too old: mambair needs 2.7 or a newer one"
    assert caught.value.hint is not None
    assert caught.value.hint.endswith('pip install --upgrade "torch>=2.7"')


@pytest.mark.parametrize("version", ["2.7.0", "2.13.0+cpu", "3.0.0.dev20270101", "2.9.0a0+gitabc"])
def test_a_newer_one_is_not(version):
    check_torch(version)


def test_the_package_asks_for_what_the_check_does():
    dependencies = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    assert f"torch>={'.'.join(map(str, LEAST_TORCH))}" in dependencies


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OLD + program], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_commands_say_it():
    main = "from mambair_cli.cli.main import run\nsys.exit(run({}))"
    restored = run(main.format(["sr", "photo.png"]))
    assert (restored.returncode, restored.stdout) == (1, "")
    assert restored.stderr.startswith(f"error: {MESSAGE}\n\nhint: install one ")
    report = run(main.format(["doctor"]))
    assert report.returncode == 1
    assert MESSAGE in " ".join(report.stdout.split())


@pytest.mark.slow
def test_the_python_interface_says_it():
    asked = run("import mambair_cli as mambair\nmambair.load_model('mambair-tiny-sr-x4')")
    assert asked.stderr.rstrip().endswith(f"mambair_cli.errors.BackendError: {MESSAGE}")
