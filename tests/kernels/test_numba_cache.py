"""Where compiled kernels are kept and read, and what becomes of those that are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mambair_cli import disk
from mambair_cli.errors import BackendError
from mambair_cli.kernels import numba_cache, numba_kernel
from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.machine_code import MachineCode
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.scan import dispatch, numba_cpu

CPU = torch.device("cpu")
posix_only = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")


@kernel(floats=1)
def double(values, count):
    for i in range(count):
        values[i] *= np.float32(2)


@kernel(floats=1)
def wrong(values):
    return values.no_such_thing


class Loaded:
    """A kernel that was just loaded, and whether that took no compiling."""

    def __init__(self, name: str = "double") -> None:
        compiled: list[str] = []
        numba_kernel.on_compiling.append(compiled.append)
        try:
            self.entry = numba_kernel.Kernel(__name__, name).entry
        finally:
            numba_kernel.on_compiling.remove(compiled.append)
        self.was_read = not compiled

    def doubled(self) -> list[float]:
        values = np.float32([1, 2.5, -3])
        self.entry(values.ctypes.data, values.size)
        return list(values)


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Folders to keep kernels in, none of which exists; nothing was refused yet."""
    found = [tmp_path / name for name in ("package", "user", "temporary")]
    monkeypatch.setattr(numba_cache, "folders", lambda: found)
    monkeypatch.setattr(numba_cache, "_refusals", {})
    monkeypatch.setattr(numba_cache, "_kept_nowhere", False)
    return found


def test_a_kernel_is_compiled_once(places):
    first, second = (Loaded() for _ in range(2))
    assert (first.was_read, second.was_read) == (False, True)
    assert first.doubled() == second.doubled() == [2, 5, -6]
    assert [path.parent for path in places[0].parent.rglob("*.kernel")] == [places[0]]


@pytest.mark.parametrize("harm", ["empty", "half", "noise", "one bit"])
def test_a_damaged_file_is_made_again(places, harm):
    Loaded()
    (path,) = places[0].iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    noise = np.random.default_rng(0).bytes(500)
    bad = {"empty": b"", "half": whole[: len(whole) // 2], "noise": noise, "one bit": flipped}
    path.write_bytes(bad[harm])
    again = Loaded()
    assert not again.was_read
    assert again.doubled() == [2, 5, -6]
    assert Loaded().was_read


def test_what_was_made_of_other_sources_is_made_again(places, monkeypatch):
    Loaded()
    monkeypatch.setattr(numba_cache, "_sources", lambda: b"another release")
    assert not Loaded().was_read
    assert len(list(places[0].iterdir())) == 1


def test_the_next_folder_takes_what_one_refuses_and_both_are_read(places):
    places[0].write_bytes(b"no folder")
    Loaded()
    assert list(places[1].glob("*.kernel"))
    assert Loaded().was_read
    assert numba_cache.why_not_kept() is None
    assert numba_cache.place().startswith(f"{places[1]} (not in {places[0]}: ")


def test_a_full_disk_ends_no_run(places, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba_cache, "write_whole", full)
    assert Loaded().doubled() == [2, 5, -6]
    reason = f"{places[0]}: No space left on device; {places[1]}: No space left on device"
    assert numba_cache.why_not_kept().startswith(reason)


def test_each_processor_has_machine_code_of_its_own(places, monkeypatch):
    assert not Loaded().was_read
    other = replace(target(), cpu="another")
    monkeypatch.setattr(numba_kernel, "target", lambda: other)
    assert not Loaded().was_read
    names = [path.name.split("-")[0] for path in places[0].iterdir()]
    assert names == ["test_numba_cache.double"] * 2


@pytest.mark.usefixtures("places")
def test_what_numba_cannot_compile_is_an_error_of_ours():
    with pytest.raises(BackendError, match="wrong cannot be compiled"):
        Loaded("wrong")


def test_folders_are_the_users_choice_or_three(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert [*numba_cache.folders()] == [tmp_path / "mambair-kernels"]
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(numba_cache, "user_folder", lambda: None)
    monkeypatch.setattr(numba_cache, "temporary_folder", lambda: tmp_path)
    beside = Path(numba_cache.__file__).parent / "__pycache__"
    assert [*numba_cache.folders()] == [beside, tmp_path / "kernels"]


@posix_only
def test_the_temporary_folder_is_nobody_elses(monkeypatch, tmp_path):
    monkeypatch.setattr(disk.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = disk.temporary_folder()
    assert folder == tmp_path / f"mambair-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    assert disk.temporary_folder() is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert disk.temporary_folder() is None


@posix_only
def test_without_a_home_no_folder_is_called_tilde(monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/x"))
    assert disk.user_folder() is None


@pytest.fixture
def asked_again():
    """Whether kernels load is found out anew, and once more afterwards."""
    dispatch._kernels_refuse.cache_clear()
    yield
    dispatch._kernels_refuse.cache_clear()


@pytest.mark.usefixtures("asked_again")
def test_auto_takes_torch_where_llvm_runs_nothing(monkeypatch):
    def refuse(*_):
        raise RuntimeError("LLVM ERROR:\nno memory may be executed")

    monkeypatch.setattr(MachineCode, "loaded", refuse)
    monkeypatch.setattr(numba_cpu, "FORWARD", Kernel(numba_cpu.FORWARD.module, "scan_forward"))
    assert dispatch.select("auto", CPU).name == "torch"
    with pytest.raises(BackendError, match="here: LLVM ERROR: no memory may be executed"):
        dispatch.select("numba", CPU)


def test_auto_takes_torch_where_nothing_may_be_compiled(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert dispatch.select("auto", CPU).name == "torch"
    assert dispatch.NUMBA.refuses(CPU) == "NUMBA_DISABLE_JIT is set"


def test_kept_kernels_run_without_numba():
    program = """
import sys, torch
from mambair_cli.kernels.scan import dispatch
assert dispatch.NUMBA.refuses(torch.device("cpu")) is None
sys.exit("numba" in sys.modules)
"""
    dispatch.NUMBA.refuses(CPU)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
