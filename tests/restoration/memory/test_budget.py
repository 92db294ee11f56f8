import ctypes
import re

import pytest
import torch

from mambair_cli.errors import MemoryLimitError
from mambair_cli.restoration.memory import budget as memory
from mambair_cli.restoration.memory.budget import (
    auto_tile,
    available_main_memory,
    available_memory,
    available_system_memory,
    fitting,
    give_back,
    is_out_of_memory,
    resident_memory,
)

GIB = 2**30


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path):
    """A root directory of a machine with 8 GiB available and no control groups."""
    write(tmp_path, proc__meminfo=f"MemTotal: 99 kB\nMemAvailable:   {8 * 2**20} kB\n")
    return tmp_path


def test_without_control_groups_it_is_what_the_system_has(machine):
    assert available_system_memory(machine) == 8 * GIB


def put(root, path, **files):
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (directory / name.replace("__", ".")).write_text(f"{value}\n")


def test_version_2_limit_counts_reclaimable_cache_as_available(machine):
    write(machine, proc__self__cgroup="0::/app\n")
    put(
        machine,
        "sys/fs/cgroup/app",
        memory__max=4 * GIB,
        memory__high="max",
        memory__current=3 * GIB,
        memory__stat=f"anon 5\ninactive_file {GIB}",
    )
    assert available_system_memory(machine) == 2 * GIB


def test_version_2_parents_and_high_count_too(machine):
    write(machine, proc__self__cgroup="0::/slice/app\n")
    put(machine, "sys/fs/cgroup/slice/app", memory__max="max", memory__current=0)
    put(machine, "sys/fs/cgroup/slice", memory__high=3 * GIB, memory__current=2 * GIB)
    assert available_system_memory(machine) == GIB


def test_version_1_in_a_container_that_shows_the_path_of_its_host(machine):
    write(machine, proc__self__cgroup="5:cpu:/\n4:memory:/docker/0123\n1:name=systemd:/\n")
    put(
        machine,
        "sys/fs/cgroup/memory",
        memory__limit_in_bytes=2 * GIB,
        memory__usage_in_bytes=GIB,
    )
    assert available_system_memory(machine) == GIB


def test_version_1_without_a_limit(machine):
    write(machine, proc__self__cgroup="4:memory:/\n")
    put(
        machine,
        "sys/fs/cgroup/memory",
        memory__limit_in_bytes=9223372036854771712,
        memory__usage_in_bytes=GIB,
    )
    assert available_system_memory(machine) == 8 * GIB


def test_a_path_above_the_mount_is_not_followed(machine):
    write(machine, proc__self__cgroup="0::/../../elsewhere\n")
    put(machine, "elsewhere", memory__max=1, memory__current=1)
    put(machine, "sys/fs/cgroup", memory__max=3 * GIB, memory__current=GIB)
    assert available_system_memory(machine) == 2 * GIB


def test_an_exhausted_limit_is_nothing_and_not_negative(machine):
    write(machine, proc__self__cgroup="0::/\n")
    put(machine, "sys/fs/cgroup", memory__max=GIB, memory__current=2 * GIB)
    assert available_system_memory(machine) == 0


LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max data size             {data:<20} unlimited            bytes
Max address space         {space:<20} unlimited            bytes
"""
STATUS = "Name:\tmambair\nVmSize:\t 3145728 kB\nVmRSS:\t  524288 kB\nVmData:\t 1048576 kB\n"


@pytest.mark.parametrize(
    ("data", "space", "available"),
    [
        ("unlimited", "unlimited", 8 * GIB),
        (3 * GIB, "unlimited", 2 * GIB),
        ("unlimited", 4 * GIB, GIB),
        (3 * GIB, 4 * GIB, GIB),
        (GIB // 2, "unlimited", 0),
    ],
)
def test_limits_of_the_process_count(machine, data, space, available):
    write(machine, proc__self__status=STATUS, proc__self__limits=LIMITS.format(**locals()))
    assert available_system_memory(machine) == available


def test_what_the_process_takes(machine):
    write(machine, proc__self__status=STATUS)
    assert resident_memory(machine) == GIB // 2


def test_without_a_proc_file_system_a_process_takes_its_peak(tmp_path):
    assert resident_memory(tmp_path) > 50 * 2**20


def test_a_limit_on_memory_counts_what_the_process_takes_already(monkeypatch):
    monkeypatch.setattr(memory, "available_system_memory", lambda: 8 * GIB)
    monkeypatch.setattr(memory, "resident_memory", lambda: GIB)
    assert available_main_memory(None) == 8 * GIB
    assert available_main_memory(3 * GIB) == 2 * GIB
    assert available_main_memory(30 * GIB) == 8 * GIB
    assert available_main_memory(GIB // 2) == 0


def test_without_a_proc_file_system(tmp_path):
    assert available_system_memory(tmp_path) > 100 * 2**20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
def test_freed_memory_is_given_back():
    pieces = [bytes(60_000) for _ in range(2000)]
    kept = pieces[::50]
    del pieces
    before = resident_memory()
    give_back()
    assert len(kept) == 40
    assert resident_memory() < before - 50 * 2**20


def test_a_c_library_without_the_call_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    give_back()


def test_without_sysconf(tmp_path, monkeypatch):
    monkeypatch.delattr(memory.os, "sysconf")
    assert available_system_memory(tmp_path) == memory.UNKNOWN_MEMORY


def test_this_machine_has_memory():
    assert available_memory(torch.device("cpu")) > 100 * 2**20


def test_a_gpu_counts_its_cache(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: GIB)
    assert available_memory(torch.device("cuda")) == 4 * GIB - memory.WORKSPACE_RESERVE


def test_an_xpu_of_an_old_torch_counts_on_its_own_memory(monkeypatch):
    monkeypatch.delattr(torch.xpu, "mem_get_info", raising=False)
    properties = type("Properties", (), {"total_memory": 8 * GIB})
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.xpu, "memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.xpu, "memory_allocated", lambda _: GIB)
    assert available_memory(torch.device("xpu")) == 7 * GIB - memory.WORKSPACE_RESERVE


def test_a_full_gpu_has_nothing_and_not_less(monkeypatch):
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda _: (2**20, 8 * GIB), raising=False)
    monkeypatch.setattr(torch.xpu, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.xpu, "memory_allocated", lambda _: 0)
    assert available_memory(torch.device("xpu")) == 0


def test_an_image_that_fits_runs_whole():
    assert auto_tile(3000, 4000, 1000, 40 * GIB) == 0


def test_an_image_that_does_not_fit_runs_in_the_largest_tile_that_does():
    tile = auto_tile(3000, 4000, 10_000, 2 * GIB)
    assert tile % 8 == 0
    assert tile**2 * 10_000 <= memory.PLANNED_SHARE * 2 * GIB < (tile + 8) ** 2 * 10_000


def test_tiles_are_capped():
    assert auto_tile(30_000, 40_000, 1000, 40 * GIB) == memory.LARGEST_AUTO_TILE


def test_tiles_have_a_floor():
    assert auto_tile(500, 600, 10_000, 64 * 64 * 10_000) == memory.SMALLEST_AUTO_TILE


def test_too_little_for_the_smallest_tile_is_an_error():
    message = "the smallest tile needs 39 MiB of memory, 38 MiB are available"
    with pytest.raises(MemoryLimitError, match=f"^{re.escape(message)}$") as caught:
        auto_tile(500, 600, 10_000, 38 * 2**20)
    assert caught.value.hint


def test_a_narrow_image_needs_less_than_a_square_tile():
    assert auto_tile(1, 3000, 10_000, 51_000_000) == 0


@pytest.mark.parametrize(("available", "images"), [(0, 1), (200, 1), (400, 2), (9000, 54)])
def test_as_many_images_as_fit(available, images):
    assert fitting(10, 10, available) == images


def test_memory_errors_of_torch_are_told_from_others():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
