"""Connecting to a cluster and dividing it; nothing here starts one."""

from __future__ import annotations

import builtins
import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest

from mambair_cli.cli.main import run
from mambair_cli.distributed import cluster
from mambair_cli.distributed.cluster import Workers, find_workers
from mambair_cli.errors import BackendError, UsageError

# Print where the processes of a cluster listen, one of them a worker's.
LISTENERS = """
import psutil
from mambair_cli.distributed.cluster import connected, import_ray

with connected(None):
    ray = import_ray()
    ray.get(ray.remote(lambda: None).remote())
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        for each in process.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                print(each.laddr.ip)
"""


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def have(*resources):
        monkeypatch.setattr(cluster, "_resources", lambda: list(resources))

    return have


@pytest.mark.parametrize(
    ("resources", "device", "expected"),
    [
        ([{"CPU": 2}], "auto", Workers(1, "cpu", 2, 1.0)),
        ([{"CPU": 64}, {"CPU": 16}], "auto", Workers(10, "cpu", 8, 1 / 8)),
        ([{"CPU": 64}, {"CPU": 3}, {"memory": 9}], "cpu", Workers(22, "cpu", 3, 1 / 21)),
        ([{"CPU": 32, "GPU": 4}, {"CPU": 64}], "auto", Workers(4, "cuda", 8, 1 / 4)),
        ([{"CPU": 4, "GPU": 2}, {"CPU": 2, "GPU": 2}], "cuda", Workers(4, "cuda", 1, 1 / 2)),
        ([{"CPU": 32, "GPU": 4}], "cpu", Workers(4, "cpu", 8, 1 / 4)),
        ([{"GPU": 1}], "auto", Workers(1, "cuda", 0, 1.0)),
    ],
)
def test_a_cluster_is_divided(nodes, resources, device, expected):
    nodes(*resources)
    assert find_workers(device) == expected


def test_a_variable_says_how_many_processors_a_worker_has(nodes, monkeypatch):
    nodes({"CPU": 64})
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert find_workers("auto") == Workers(16, "cpu", 4, 1 / 16)


def test_devices_that_a_cluster_does_not_have(nodes):
    nodes({"CPU": 2})
    with pytest.raises(BackendError, match=r"^the cluster has no GPU$"):
        find_workers("cuda")
    with pytest.raises(UsageError, match=r"^--device cuda:1 cannot be chosen with --engine ray$"):
        find_workers("cuda:1")
    nodes({"memory": 9})
    with pytest.raises(BackendError, match=r"^the cluster has no processors$"):
        find_workers("auto")


def test_places_and_lanes():
    assert Workers(3, "cpu", 2, 0.5).names(2) == ["worker 1", "worker 2"]
    assert Workers(3, "cpu", 2, 0.5).lanes == 1
    gpus = Workers(3, "cuda", 8, 0.5)
    assert (gpus.lanes, gpus.names(10)) == (9, ["worker 1", "worker 2"])
    assert str(gpus) == "3 workers, a GPU each"


def told(monkeypatch, capfd, *arguments):
    ray = cluster.import_ray()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    status = run(["sr", "a.png", "--engine", "ray", *arguments])
    return status, capfd.readouterr().err.splitlines()


def test_an_address_where_nobody_answers(monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    status, lines = told(monkeypatch, capfd, "--ray-address", f"127.0.0.1:{port}")
    assert status == 1
    assert lines[0].startswith(f"error: no Ray cluster answers at 127.0.0.1:{port}: ")
    assert lines[2].startswith("hint: check the address, and start the cluster with: ray start")


@pytest.mark.parametrize(
    "address",
    ["ray://head:10001", "head", "head:port", "head:99999", "head:0", "", "h:" + "9" * 5000],
)
def test_what_is_no_address(monkeypatch, capfd, address):
    status, lines = told(monkeypatch, capfd, "--ray-address", address)
    assert status == 2
    assert lines[0] == f"error: {address!r} is no address of a Ray cluster"


def test_a_name_that_no_network_has(monkeypatch, capfd):
    status, lines = told(monkeypatch, capfd, "--ray-address", "a" * 70 + ":6379")
    assert status == 1
    assert lines[0].startswith("error: no Ray cluster answers at aaa")


@pytest.mark.slow
def test_a_new_cluster_listens_on_loopback_alone(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here = subprocess.run([sys.executable, "-c", LISTENERS], capture_output=True, check=True)
    addresses = {ip_address(line.decode()) for line in here.stdout.split()}
    assert len(addresses) > 0
    assert all((getattr(each, "ipv4_mapped", None) or each).is_loopback for each in addresses)


def test_without_ray(monkeypatch, capfd):
    original = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert run(["sr", "a.png", "--engine", "ray"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "error: --engine ray needs Ray: No module named 'ray'",
        "",
        "hint: pip install 'mambair[ray]'",
    ]


def test_addresses_of_stores_need_the_engine(capfd):
    assert run(["sr", "s3://bucket/a.png"]) == 2
    message = capfd.readouterr().err
    assert "error: addresses are no files of this machine: s3://bucket/a.png" in message
    assert "hint: add --engine ray" in message
