"""A batch that is killed at any moment leaves only whole files, and goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from forked_runs import Launcher

from mambair_cli.imaging.files import write_images
from mambair_cli.imaging.image import ImageSequence, RestorableImage, Timing

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")

# How the values of each file's images are made: their type, their channels, how many there are.
FILES = {
    "deep.png": (np.uint16, 3, 1),
    "gray.png": (np.uint8, 1, 1),
    "moving.gif": (np.uint8, 3, 3),
    "moving.png": (np.uint8, 3, 2),
    "photo.jpg": (np.uint8, 3, 1),
    "scan.tif": (np.float32, 3, 1),
    "scans.tif": (np.uint16, 1, 3),
    "sub/deep.tif": (np.uint16, 3, 1),
    "sub/light.webp": (np.uint8, 3, 1),
    "sub/photo.jpg": (np.uint8, 3, 1),
    "sub/photo.png": (np.uint8, 3, 1),
    "sub/seen through.png": (np.uint16, 4, 1),
}


def make_images(folder: Path) -> None:
    numbers = np.random.default_rng(5)
    for name, (dtype, channels, images) in FILES.items():
        made = []
        for _ in range(images):
            values = numbers.random((21, 34, channels))
            if dtype is not np.float32:
                values = values * np.iinfo(dtype).max
            values = values.astype(dtype)
            alpha = values[..., 3] if channels == 4 else None
            made.append(RestorableImage(values[..., :3], alpha))
        timing = Timing((80,) * images) if name.startswith("moving") else None
        write_images(folder / name, ImageSequence(tuple(made), timing))


def contents(folder: Path) -> dict[str, bytes]:
    """Everything but the record."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".jsonl"
    }


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: file for name, file in contents(folder).items() if "/.m" not in f"/{name}"}


class Batch:
    """A batch that is started again and again."""

    def __init__(self, launcher: Launcher, weights: Path, folder: Path) -> None:
        self._launcher, self._folder = launcher, folder
        self._common = (
            *("sr", folder / "in", "--weights", weights / "sr-x2.safetensors"),
            *("--scan", "torch", "--resume", "--quiet"),
        )
        start = time.monotonic()
        assert self.start("undisturbed").wait() == 0
        self.seconds = time.monotonic() - start
        self.expected = contents(folder / "undisturbed")
        assert len(self.expected) == len(FILES)

    def start(self, name):
        out = self._folder / name
        return self._launcher.start(self._folder / "printed", *self._common, "-o", out)

    def kill_and_go_on(self, name: str, kills: int, moments: random.Random) -> int:
        """Kills runs until one is finished before its time comes; returns how many were."""
        killed, out = 0, self._folder / name
        while killed < kills:
            run = self.start(name)
            time.sleep(moments.uniform(0, self.seconds))
            os.kill(run.pid, signal.SIGKILL)
            if run.wait() != -signal.SIGKILL:
                self.seconds *= 0.7  # the first run was slower than those after it
                break
            self.seconds *= 1.1
            killed += 1
            # Whatever is there is whole and right.
            assert outputs(out).items() <= self.expected.items()
        assert self.start(name).wait() == 0
        assert contents(out) == self.expected
        assert self.start(name).wait() == 0
        assert contents(out) == self.expected
        return killed


@pytest.fixture
def batch(launcher, weights, tmp_path) -> Batch:
    make_images(tmp_path / "in")
    return Batch(launcher, weights, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 50])
def test_killed_and_resumed_the_results_are_the_same(batch, kills):
    moments, killed = random.Random(kills), 0  # noqa: S311
    for number in range(10 + kills):
        killed += batch.kill_and_go_on(f"out {number}", min(10, kills - killed), moments)
        if killed == kills:
            break
    assert killed == kills
