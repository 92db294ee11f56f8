import re
import subprocess
import sys

import pytest
import torch

from mambair_cli.errors import MemoryLimitError
from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig
from mambair_cli.restoration import memory
from mambair_cli.restoration.memory import (
    auto_tile,
    available_memory,
    available_system_memory,
    bytes_per_pixel,
    fitting_batch,
    is_out_of_memory,
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


def test_without_a_proc_file_system(tmp_path):
    assert available_system_memory(tmp_path) > 100 * 2**20


def test_without_sysconf(tmp_path, monkeypatch):
    monkeypatch.delattr(memory.os, "sysconf")
    assert available_system_memory(tmp_path) == memory.UNKNOWN_MEMORY


def test_this_machine_has_memory():
    assert available_memory(torch.device("cpu")) > 100 * 2**20


def test_a_gpu_counts_its_cache(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: GIB)
    assert available_memory(torch.device("cuda")) == 4 * GIB


def test_larger_networks_need_more():
    light = MambaIRConfig()
    classic = MambaIRConfig(
        embed_dim=180, d_state=16, depths=(6,) * 6, mlp_ratio=2.0, upsampler="pixelshuffle"
    )
    assert 500 < bytes_per_pixel(light, "fp32") < bytes_per_pixel(classic, "fp32")
    assert bytes_per_pixel(light, "bf16") <= bytes_per_pixel(light, "fp32")
    assert bytes_per_pixel(MambaIRUNetConfig(), "fp32") > bytes_per_pixel(light, "fp32")


def test_the_reference_scan_needs_more():
    light = MambaIRConfig()
    assert bytes_per_pixel(light, "fp32", "reference") > 2 * bytes_per_pixel(light, "fp32", "numba")


MEASURE = """
import resource, sys, torch
from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.networks.ss2d import set_scan_backend

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

network = build_network(MambaIRConfig(embed_dim=90, depths=(1,)))
set_scan_backend(network, "auto")
with torch.inference_mode():
    network(torch.rand(1, 3, 16, 24))
    before = peak()
    network(torch.rand(1, 3, 160, 200))
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units")
def test_the_estimate_covers_what_a_process_really_takes():
    out = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True
    ).stdout
    before, after = map(int, out.split())
    estimate = bytes_per_pixel(MambaIRConfig(embed_dim=90), "fp32")
    assert 0.3 * estimate < (after - before) / (160 * 200) < 1.1 * estimate


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


@pytest.mark.parametrize(("available", "batch"), [(0, 1), (200, 1), (400, 2), (700, 4), (9000, 4)])
def test_as_many_members_as_fit(available, batch):
    assert fitting_batch(10, 10, available) == batch


def test_memory_errors_of_torch_are_told_from_others():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
