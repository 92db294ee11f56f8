"""A file of full size on its whole way: fetched, converted, verified, loaded, used."""

from __future__ import annotations

import json
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub
from PIL import Image

from mambair_cli.checkpoints import cache
from mambair_cli.checkpoints.catalogue import find
from mambair_cli.networks import build_network
from mambair_cli.pixels.tensors import to_pixels, to_tensor
from mambair_cli.restoration.device.scan_backend import set_scan_backend

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
CLASSIC = find("mambair-classic-sr-x4")

LOADING = """
import json, sys, time
from pathlib import Path
from mambair_cli.checkpoints.load import load_checkpoint

def peak():
    # Not getrusage: it counts what the process was before it became this program.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

before, start = peak(), time.perf_counter()
load_checkpoint(Path(sys.argv[1]))
print(json.dumps({"seconds": time.perf_counter() - start, "bytes": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_classic_network_from_the_hub_to_an_image(hub: Hub, tmp_path: Path):
    seeded_tensor = runpy.run_path(str(ROOT / "tests/networks/conftest.py"))["seeded_tensor"]
    network = build_network(CLASSIC.config)
    state = {
        key: torch.from_numpy(seeded_tensor(key, tuple(value.shape)))
        for key, value in network.state_dict().items()
    }
    source = tmp_path / "published.pth"
    torch.save({"params": state}, source)
    assert source.stat().st_size / 1e6 == pytest.approx(CLASSIC.megabytes, rel=0.01)
    hub.add(CLASSIC.repo, {CLASSIC.files[0]: source.read_bytes()})
    pixels = np.asarray(Image.open(ROOT / "examples" / "cat.png").convert("RGB"))[40:69, 60:97]
    Image.fromarray(pixels).save(tmp_path / "cat.png")

    def run(*command: object) -> str:
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        environment |= {"HF_HOME": str(tmp_path / "hf")}
        words = [sys.executable, *map(str, command)]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    mambair = ("-m", "mambair_cli")
    run(*mambair, "models", "pull", CLASSIC.id)
    assert run(*mambair, "models", "verify") == f"{CLASSIC.id}: ok\n"
    run(*mambair, "sr", "--model", "classic", tmp_path / "cat.png", "--device", "cpu")

    network.load_state_dict(state)
    set_scan_backend(network, "auto")
    with torch.inference_mode():
        expected = to_pixels(network.eval()(to_tensor(pixels)))
    restored = np.asarray(Image.open(tmp_path / "cat_x4.png"))
    assert restored.shape == (116, 148, 3)
    assert np.abs(restored.astype(int) - expected.astype(int)).max() <= 1

    for path in (source, cache.converted_of(CLASSIC.id)):
        loading = json.loads(run("-c", LOADING, path))
        size = path.stat().st_size
        LOG.info(
            "%s of %.1f MB: loaded in %.2f s, peak memory %.2f times its size",
            path.suffix,
            size / 1e6,
            loading["seconds"],
            loading["bytes"] / size,
        )
        # One copy of the parameters, and room for what reads them.
        assert loading["bytes"] < 1.5 * size
