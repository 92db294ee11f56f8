"""Runs `mambair` in this process, on small images, with small networks of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked_runs import Launcher, launching
from PIL import Image

from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.cli.main import run
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec


@dataclass(frozen=True)
class Outcome:
    """What one command line gave."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` told, without what all events have."""
        told = [json.loads(line) for line in self.lines]
        assert all(event.pop("version") == 1 for event in told)
        assert all(datetime.fromisoformat(event.pop("time")).tzinfo is UTC for event in told)
        return told


Mambair = Callable[..., Outcome]


@pytest.fixture
def mambair(capfd: pytest.CaptureFixture[str]) -> Mambair:
    """Runs `mambair` with the given arguments."""

    def invoke(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return invoke


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights files: sr-x2, sr-x4, denoise-s25, dejpeg-q30, dejpeg-color."""
    folder = tmp_path_factory.mktemp("weights")
    small = {"embed_dim": 16, "d_state": 4, "depths": (1,)}
    models = [
        (MambaIRConfig(upscale=2, **small), ModelSpec("test-sr-x2", "sr", 2, 3)),
        (MambaIRConfig(upscale=4, **small), ModelSpec("test-sr-x4", "sr", 4, 3)),
        (
            MambaIRConfig(upscale=1, upsampler="", **small),
            ModelSpec("test-denoise-s25", "denoise", 1, 3, sigma=25),
        ),
        (
            MambaIRConfig(upscale=1, upsampler="", in_chans=1, **small),
            ModelSpec("test-dejpeg-q30", "dejpeg", 1, 1, quality=30),
        ),
        (
            MambaIRConfig(upscale=1, upsampler="", **small),
            ModelSpec("test-dejpeg-color", "dejpeg", 1, 3),
        ),
    ]
    torch.manual_seed(0)
    for config, spec in models:
        name = spec.id.removeprefix("test-")
        write_checkpoint(folder / f"{name}.safetensors", build_network(config), spec)
    return folder


MakeImage = Callable[..., Path]


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """Writes an image of noise, of 22x13 pixels unless told otherwise."""

    def make(path: Path, width: int = 22, height: int = 13, mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(width * height).integers(0, 256, (height, width, 4), np.uint8)
        Image.fromarray(noise, "RGBA").convert(mode).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def launcher(
    weights: Path, make_image: MakeImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launcher]:
    """Starts processes that have imported what `mambair sr --scan torch` needs."""
    first = make_image(tmp_path_factory.mktemp("first") / "first.png")
    arguments = ("sr", first, "--weights", weights / "sr-x2.safetensors", "--scan", "torch")
    with launching(*arguments) as launcher:
        yield launcher


@pytest.fixture
def photo(tmp_path: Path, make_image: MakeImage) -> Path:
    """A colour image of 22x13 pixels in an otherwise empty folder."""
    return make_image(tmp_path / "in" / "photo.png")


@pytest.fixture
def enlarge(
    mambair: Mambair, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mambair:
    """Enlarges files twice, in an empty folder that names are relative to."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object) -> Outcome:
        return mambair("sr", *arguments, "--weights", weights / "sr-x2.safetensors")

    return invoke


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Callable[..., None]:
    """Writes images of given names into that folder."""

    def make(*names: str) -> None:
        for name in names:
            make_image(tmp_path / name)

    return make
