"""`mambair doctor`: what it reports, and when it fails."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest

from mambair_cli.checkpoints import catalogue
from mambair_cli.cli.commands import doctor
from mambair_cli.kernels.scan import dispatch
from mambair_cli.restoration.device.hardware import GIB, Device


def test_report_names_every_subject(mambair):
    outcome = mambair("doctor")
    assert (outcome.status, outcome.err) == (0, "")
    for words in ("versions", "processor", "devices", "scan backends", "bundled weights", "caches"):
        assert f"\n{words}" in f"\n{outcome.out}"
    assert "problems" not in outcome.out


def test_json_says_why_a_backend_refuses(mambair, monkeypatch):
    refusing = replace(dispatch.NUMBA, name="odd", refuses=lambda _device: "it is an odd day")
    monkeypatch.setattr(dispatch, "BACKENDS", (refusing, dispatch.REFERENCE))
    outcome = mambair("doctor", "--json")
    report = json.loads(outcome.out)
    assert report["scan"]["odd"]["cpu"] == "it is an odd day"
    assert report["scan"]["reference"]["cpu"] is None
    assert report["can_restore"] is True
    assert report["memory_available"] > 0
    assert "not on cpu: it is an odd day" in mambair("doctor").out


def test_fails_when_no_backend_runs(mambair, monkeypatch):
    refusing = replace(dispatch.NUMBA, refuses=lambda _device: "no")
    monkeypatch.setattr(dispatch, "BACKENDS", (refusing,))
    assert mambair("doctor").status == 1


def test_without_numba_pytorch_alone_runs(mambair, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    report = json.loads(mambair("doctor", "--json").out)
    assert report["can_restore"] is True
    assert report["scan"]["numba"]["cpu"].startswith("numba cannot be imported (")
    assert report["scan"]["torch"]["cpu"] is None
    assert report["caches"] == {"fetched weights": os.environ["MAMBAIR_HOME"]}


def test_it_names_the_folder_of_compiled_kernels(mambair, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    told = json.loads(mambair("doctor", "--json").out)["caches"]["compiled kernels"]
    assert told == str(tmp_path / "new" / "mambair-kernels")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/self")
    told = json.loads(mambair("doctor", "--json").out)["caches"]["compiled kernels"]
    assert told.startswith("compiled for each run alone (not in /proc/self/mambair-kernels: ")


def test_it_survives_a_home_that_there_is_not(mambair, monkeypatch):
    monkeypatch.setenv("MAMBAIR_HOME", "~nobody-at-all/x")
    outcome = mambair("doctor")
    assert outcome.status == 0
    assert "nowhere: MAMBAIR_HOME=~nobody-at-all/x names the home of a user" in outcome.out
    assert mambair("models", "list", "--json").status == 2


def test_versions_name_what_torch_was_built_for_and_the_kernels(mambair):
    report = json.loads(mambair("doctor", "--json").out)
    assert {"torch", "triton", "mamba-ssm", "causal-conv1d"} <= report["versions"].keys()
    assert f"built for {report['torch_platform']}" in mambair("doctor").out


def test_fails_without_torch(mambair, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    outcome = mambair("doctor")
    assert outcome.status == 1
    assert "torch cannot be imported" in outcome.out


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"right", "ok"), (b"wrong", "damaged: "), (None, "missing: ")],
    ids=["right", "wrong", "missing"],
)
def test_bundled_weights_are_verified(monkeypatch, tmp_path, content, state):
    digest = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
    bundled = next(entry for entry in catalogue.entries() if entry.bundled)
    entry = replace(bundled, bundled="weights.safetensors", sha256=digest)
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    monkeypatch.setattr(catalogue, "bundled_directory", lambda: tmp_path)
    if content is not None:
        (tmp_path / "weights.safetensors").write_bytes(content)
    assert doctor.examine().weights[entry.id].startswith(state)


def test_devices_are_told_to_people_and_programs(mambair, monkeypatch):
    torch = sys.modules["torch"]
    gpu = Device("NVIDIA H200", ("fp32", "bf16"), "9.0", 140 * GIB, 100 * GIB)
    busy = Device("not usable", problem="CUDA error: all CUDA-capable devices are busy")
    found = {torch.device("cpu"): Device("arm"), torch.device("cuda:0"): gpu}
    monkeypatch.setattr(doctor, "found_devices", lambda: found)
    report = json.loads(mambair("doctor", "--json").out)
    assert report["devices"]["cuda:0"] == {
        "name": "NVIDIA H200",
        "precisions": ["fp32", "bf16"],
        "architecture": "9.0",
        "memory_total": 140 * GIB,
        "memory_free": 100 * GIB,
        "problem": None,
    }
    assert report["scan"]["torch"]["cuda:0"] is None
    assert report["scan"]["numba"]["cuda:0"] == "it runs on a CPU, not on cuda"
    found[torch.device("cuda:0")] = busy
    outcome = mambair("doctor")
    assert "not usable: CUDA error: all CUDA-capable devices are busy" in outcome.out
