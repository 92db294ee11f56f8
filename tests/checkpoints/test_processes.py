"""Fetching from processes of their own: the environment, two at once, a kill, a full disk."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_server import Hub
from safetensors.torch import load_file

from mambair_cli.checkpoints import cache, catalogue
from mambair_cli.checkpoints.obtain import fetch
from mambair_cli.checkpoints.reference import HubReference

REFERENCE = "hf://me/private/x4.pth"
MAMBAIR = (sys.executable, "-m", "mambair_cli")


@pytest.fixture
def stocked(hub: Hub) -> Hub:
    """A Hub with a private repository, which the token `hf_right` may read."""
    buffer = io.BytesIO()
    tiny = load_file(catalogue.bundled_directory() / "mambair-tiny-sr-x4.safetensors")
    torch.save({"params": tiny}, buffer)
    hub.add("me/private", {"x4.pth": buffer.getvalue()}, reader="hf_right")
    return hub


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(hub: Hub, tmp_path: Path) -> Start:
    """Starts `mambair` as a user would who has set what huggingface_hub reads."""

    def run(*arguments: str, before: tuple[str, ...] = (), **changes: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "elsewhere"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "hf_right",
            "MAMBAIR_HOME": str(cache.home()),
            **changes,
        }
        return subprocess.Popen(
            [*before, *MAMBAIR, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def test_two_processes_fetch_once(stocked: Hub, start: Start, tmp_path: Path):
    both = [start("models", "pull", REFERENCE) for _ in range(2)]
    outcomes = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outcomes
    assert {out for out, _ in outcomes} == {f"{cache.converted_of(REFERENCE)}\n"}
    assert len(stocked.asked("GET", "/")) == 1
    assert (tmp_path / "elsewhere" / "hub" / "models--me--private").is_dir()
    offline = start("models", "pull", "--force", "hf://me/other/x4.pth", HF_HUB_OFFLINE="1")
    _, said = offline.communicate(timeout=120)
    assert offline.returncode == 1
    assert said.startswith(
        "error: x4.pth from me/other is not on this machine, and HF_HUB_OFFLINE is set\n\nhint: "
    )


def test_a_killed_download_leaves_nothing_to_load(
    stocked: Hub, start: Start, monkeypatch: pytest.MonkeyPatch
):
    stocked.stalls = True
    process = start("models", "pull", REFERENCE)
    deadline = time.monotonic() + 60
    while not stocked.asked("GET", "/"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    kept = [path for path in cache.home().rglob("*") if path.is_file()]
    assert [path.suffix for path in kept] == [".lock"]
    stocked.stalls = False
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert fetch(HubReference.parse(REFERENCE)).path.is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("room", ["HF_HOME", "MAMBAIR_HOME"])
def test_a_full_disk(start: Start, tmp_path: Path, room: str):
    disk = tmp_path / "disk"
    disk.mkdir()
    own = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    mount = f'mount -t tmpfs -o size=400k none {disk} && exec "$@"'
    if subprocess.run([*own, mount, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a disk of a few bytes cannot be mounted here")
    process = start("models", "pull", REFERENCE, before=(*own, mount, "sh"), **{room: str(disk)})
    out, said = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    if room == "HF_HOME":
        assert f"error: there is no room in {disk / 'hub'} for x4.pth, which takes 0.6 MB" in said
    else:
        assert f"error: {disk}" in said
        assert "cannot be written" in said
