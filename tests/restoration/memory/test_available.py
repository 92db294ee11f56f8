"""How much memory there is on a machine, under limits of control groups and of the process."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.available import (
    available_main_memory,
    available_memory,
    available_system_memory,
    in_mebibytes,
    resident_memory,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (-3, "0 MiB"),
        (0, "0 MiB"),
        (1, "less than 1 MiB"),
        (2**20, "1 MiB"),
        (2.6 * 2**20, "3 MiB"),
    ],
)
def test_an_amount_of_memory_is_told_as_none_only_where_there_is_none(amount, told):
    assert in_mebibytes(amount) == told


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A root directory of a machine with 8 GiB available and no control groups."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
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


UNLIMITED = psutil.RLIM_INFINITY


@pytest.mark.parametrize(
    ("data", "space", "available"),
    [
        (UNLIMITED, UNLIMITED, 8 * GIB),
        (3 * GIB, UNLIMITED, 2 * GIB),
        (UNLIMITED, 4 * GIB, GIB),
        (3 * GIB, 4 * GIB, GIB),
        (GIB // 2, UNLIMITED, 0),
    ],
)
def test_limits_of_the_process_count(machine, data, space, available, monkeypatch):
    limits = {psutil.RLIMIT_DATA: data, psutil.RLIMIT_AS: space}
    process = SimpleNamespace(
        memory_info=lambda: SimpleNamespace(vms=3 * GIB, data=GIB),
        rlimit=lambda limit: (limits[limit], UNLIMITED),
    )
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert available_system_memory(machine) == available


def test_a_limit_of_the_shell_is_found():
    program = (
        "import resource, psutil\n"
        "from mambair_cli.restoration.memory.available import available_system_memory\n"
        "used = psutil.Process().memory_info().data\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + 2**26, -1))\n"
        "assert 0 < available_system_memory() <= 2**26\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_the_process_takes(monkeypatch):
    assert resident_memory() > 50 * 2**20
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GIB // 2))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert resident_memory() == GIB // 2


def test_a_limit_on_memory_counts_what_the_process_takes_already(monkeypatch):
    monkeypatch.setattr(memory, "available_system_memory", lambda: 8 * GIB)
    monkeypatch.setattr(memory, "resident_memory", lambda: GIB)
    assert available_main_memory(None) == 8 * GIB
    assert available_main_memory(3 * GIB) == 2 * GIB
    assert available_main_memory(30 * GIB) == 8 * GIB
    assert available_main_memory(GIB // 2) == 0


def test_without_a_proc_file_system(tmp_path):
    assert available_system_memory(tmp_path) > 100 * 2**20


def test_where_the_system_has_neither_limits_nor_sysconf(machine, monkeypatch):
    """As on Windows."""
    monkeypatch.delattr(psutil, "RLIMIT_AS")
    monkeypatch.delattr("os.sysconf")
    assert available_system_memory(machine) == 8 * GIB


def test_restoring_asks_nothing_of_a_module_that_windows_lacks():
    program = (
        "import sys\n"
        "import psutil\n"  # which has other modules for other systems
        "sys.modules['resource'] = None\n"
        "import mambair_cli.restoration.costs, mambair_cli.restoration.memory.available as memory\n"
        "assert memory.available_main_memory(2 * memory.resident_memory()) > 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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
