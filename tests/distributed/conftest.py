"""A Ray cluster of two nodes on this machine, small weights, small images, `mambair` on them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.cli.main import run
from mambair_cli.distributed.cluster import ENVIRONMENT, import_ray
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec

OBJECT_STORE = 80 * 2**20  # bytes, the least that Ray takes
# Workers are not ended because other programs of this machine take its memory.
UNDISTURBED = {"RAY_memory_monitor_refresh_ms": "0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one processor each; this process is connected to them.

    They end with the module: Ray leaves threads and processes beside whatever runs later.
    """
    # Paths of its sockets have to be short; other clusters of this machine are left alone.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (ENVIRONMENT | UNDISTURBED | {"RAY_TMPDIR": folder}).items():
            environment.setenv(name, value)
        ray = import_ray()
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
            ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Outcome:
    """What one command line gave."""

    status: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["event"] == name]


Mambair = Callable[..., Outcome]


@pytest.fixture
def mambair(capfd: pytest.CaptureFixture[str]) -> Mambair:
    """Runs `mambair` with the given arguments, and reads the events of `--json`."""

    def invoke(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        events = [json.loads(line) for line in out.splitlines()] if "--json" in arguments else []
        return Outcome(status, out, err, events)

    return invoke


@pytest.fixture
def on_event(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """Has a function called with every event of a batch before it is shown."""

    def install(hook: Callable[[Any], None]) -> None:
        show = BatchDisplay.show

        def hooked(self: BatchDisplay, event: Any) -> None:
            hook(event)
            show(self, event)

        monkeypatch.setattr(BatchDisplay, "show", hooked)

    return install


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that enlarge twice."""
    torch.manual_seed(0)
    network = build_network(MambaIRConfig(upscale=2, embed_dim=16, d_state=4, depths=(1,)))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    write_checkpoint(path, network, ModelSpec("test-sr-x2", "sr", 2, 3))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of eight images, two of them in a folder of their own."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for index in range(8):
        name = f"sub/{index}.png" if index > 5 else f"{index}.png"
        noise = np.random.default_rng(index).integers(0, 256, (13 + index, 22, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder


@pytest.fixture
def options(weights: Path) -> tuple[object, ...]:
    """What every run of the small weights is given."""
    return ("--weights", weights, "--scan", "torch", "--json")


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def results(mambair: Mambair, photos: Path, options: Any, tmp_path: Path) -> dict[str, bytes]:
    """What the same batch gives on this machine, without a cluster."""
    folder = tmp_path / "expected"
    assert mambair("sr", photos, "-o", folder, *options).status == 0
    return content_of(folder)
