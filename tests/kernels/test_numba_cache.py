"""Where compiled kernels are kept and read, and what becomes of those that are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba import float32, prange, void

from mambair_cli import disk
from mambair_cli.errors import BackendError
from mambair_cli.kernels import numba_cache
from mambair_cli.kernels.scan import dispatch

CPU = torch.device("cpu")
SIGNATURE = void(float32[::1])
posix_only = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")


def double(values):
    for i in prange(values.size):
        values[i] *= np.float32(2)


def doubled(kernel: numba_cache.Kernel) -> list[float]:
    values = np.float32([1, 2.5, -3])
    kernel.parallel(values)
    return list(values)


def was_read(kernel: numba_cache.Kernel) -> bool:
    return bool(kernel.parallel.stats.cache_hits)


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Folders to keep kernels in, none of which exists; nothing was refused yet."""
    found = [tmp_path / name for name in ("package", "user", "temporary")]
    monkeypatch.setattr(numba_cache, "folders", lambda: found)
    monkeypatch.setattr(numba_cache, "_refusals", {})
    monkeypatch.setattr(numba_cache, "_kept_nowhere", False)
    return found


def test_a_kernel_is_compiled_once(places):
    first, second = (numba_cache.Kernel(double, SIGNATURE) for _ in range(2))
    assert (was_read(first), was_read(second)) == (False, True)
    assert doubled(first) == doubled(second) == [2, 5, -6]
    assert [path.parent for path in places[0].parent.rglob("*.nbc")] == [places[0]]


@pytest.mark.parametrize("harm", ["empty", "half", "noise", "one bit"])
def test_a_damaged_file_is_made_again(places, harm):
    numba_cache.Kernel(double, SIGNATURE)
    (path,) = places[0].iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    noise = np.random.default_rng(0).bytes(500)
    bad = {"empty": b"", "half": whole[: len(whole) // 2], "noise": noise, "one bit": flipped}
    path.write_bytes(bad[harm])
    again = numba_cache.Kernel(double, SIGNATURE)
    assert not was_read(again)
    assert doubled(again) == [2, 5, -6]
    assert was_read(numba_cache.Kernel(double, SIGNATURE))


def test_what_was_made_of_other_sources_is_made_again(places, monkeypatch):
    numba_cache.Kernel(double, SIGNATURE)
    monkeypatch.setattr(numba_cache, "_sources", lambda: b"another release")
    assert not was_read(numba_cache.Kernel(double, SIGNATURE))
    assert len(list(places[0].iterdir())) == 1


def test_the_next_folder_takes_what_one_refuses_and_both_are_read(places):
    places[0].write_bytes(b"no folder")
    numba_cache.Kernel(double, SIGNATURE)
    assert list(places[1].glob("*.nbc"))
    assert was_read(numba_cache.Kernel(double, SIGNATURE))
    assert numba_cache.why_not_kept() is None
    assert numba_cache.place().startswith(f"{places[1]} (not in {places[0]}: ")


def test_a_full_disk_ends_no_run(places, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba_cache, "write_whole", full)
    assert doubled(numba_cache.Kernel(double, SIGNATURE)) == [2, 5, -6]
    reason = f"{places[0]}: No space left on device; {places[1]}: No space left on device"
    assert numba_cache.why_not_kept().startswith(reason)


def test_one_thread_computes_what_several_do(places):
    values = np.float32([1, 2.5, -3])
    numba_cache.Kernel(double, SIGNATURE).serial(values)
    assert list(values) == [2, 5, -6]
    names = sorted(path.name.split("-")[0] for path in places[0].iterdir())
    assert names == ["test_numba_cache.double", "test_numba_cache.double.serial"]


@pytest.mark.usefixtures("places")
def test_what_numba_cannot_compile_is_an_error_of_ours():
    def wrong(values):
        return values.no_such_thing

    with pytest.raises(BackendError, match="wrong cannot be compiled"):
        numba_cache.Kernel(wrong, SIGNATURE)


def test_folders_are_the_users_choice_or_three(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert [*numba_cache.folders()] == [tmp_path / "mambair-kernels"]
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
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
    monkeypatch.setattr(disk.platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/x"))
    assert disk.user_folder() is None


@pytest.fixture
def asked_again():
    """Whether kernels load is found out anew, and once more afterwards."""
    dispatch._kernels_refuse.cache_clear()
    yield
    dispatch._kernels_refuse.cache_clear()


@pytest.mark.usefixtures("asked_again")
def test_auto_takes_torch_where_no_threads_can_be_had(monkeypatch):
    def missing():
        raise ValueError("No threading layer could be loaded.\nHINT:\nIntel TBB is required")

    monkeypatch.setattr(numba, "get_num_threads", missing)
    assert dispatch.select("auto", CPU).name == "torch"
    with pytest.raises(BackendError, match="here: No threading layer could be loaded"):
        dispatch.select("numba", CPU)


def test_auto_takes_torch_where_nothing_may_be_compiled(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert dispatch.select("auto", CPU).name == "torch"
    assert dispatch.NUMBA.refuses(CPU) == "NUMBA_DISABLE_JIT is set"
