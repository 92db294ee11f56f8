"""What tests share: no network unless marked `network`, where kernels run, one error measure."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hub_server import Hub, serving

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Read when torch and Numba are imported, also by the processes that tests start. Tensors of tests
# are so small that threads only wait for each other; what is about threads asks for its own.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
# Every process would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# In the background a shell has programs ignore Ctrl-C, and those that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What the user of this machine wants always is none of the tests' business.
for _name in [name for name in os.environ if name.startswith("MAMBAIR_")]:
    del os.environ[_name]
os.environ["MAMBAIR_CONFIG"] = ""
# Read by huggingface_hub when it is imported: nobody's own downloads are looked at.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / f"mambair-tests-{os.getpid()}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run a few files in this process, where a debugger works and nothing has to start first."""
    return 0 if all(".py" in argument for argument in config.args) else None


def pytest_configure(config: pytest.Config) -> None:
    """Choose between Triton's compiler and interpreter before any kernel is defined."""
    if config.getoption("numprocesses", None):
        return  # other processes run the tests
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    if find_spec("hypothesis") is None:
        return  # a GPU's machine, where benchmarks/gpu.py runs a few files
    from hypothesis import settings

    # How long an example takes depends on what else the machine does.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Have garbage collections pass over the libraries, which stay until the end."""
    gc.collect()
    gc.freeze()


LOOPBACK = {"127.0.0.1", "::1"}


class NetworkBlockedError(RuntimeError):
    """A test opened a connection without the `network` marker."""


@pytest.fixture(autouse=True)
def _no_network(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Make connections beyond this machine fail, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        beyond = not (isinstance(address, tuple) and address[0] in LOOPBACK)
        if self.family in {socket.AF_INET, socket.AF_INET6} and beyond:
            raise NetworkBlockedError(f"connection to {address!r} in a test without network marker")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("MAMBAIR_HOME", str(tmp_path_factory.getbasetemp() / "nothing-fetched"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback that huggingface_hub takes for the real one, and empty caches."""
    from huggingface_hub import constants, file_download

    with serving() as server:
        address = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _: None))
        monkeypatch.setenv("MAMBAIR_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Make every new tensor without content hold NaN, whatever made it."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    """Where Triton kernels are tested: compiled on a GPU if there is one, else interpreted."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


GPU_TARGETS = {  # backend, architecture, threads of a warp
    "sm_75": ("cuda", 75, 32),
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "gfx942": ("hip", "gfx942", 64),
}


@pytest.fixture
def compiled_for(tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Compiles launches of Triton kernels for a GPU that is not here (`compile_kernels.py`)."""
    root = Path(__file__).parents[1]

    def compile_launches(target: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
        environment.pop("TRITON_INTERPRET", None)
        done = subprocess.run(
            [sys.executable, root / "tests" / "support" / "compile_kernels.py"],
            input=json.dumps([case | {"target": GPU_TARGETS[target]} for case in cases]),
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        results: list[dict[str, Any]] = json.loads(done.stdout)
        return results

    return compile_launches


@pytest.fixture(scope="session")
def relative_rms() -> Callable[[Tensor, Tensor], float]:
    """Root mean square of a difference over that of the expected values."""

    def measure(actual: Tensor, expected: Tensor) -> float:
        assert actual.shape == expected.shape
        expected = expected.double()
        error = float((actual.double() - expected).norm())
        return error and error / float(expected.norm())

    return measure
