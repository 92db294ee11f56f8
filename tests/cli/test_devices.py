"""Several devices on one command line, with two stand-ins that are the same CPU."""

from __future__ import annotations

import os

import pytest
import torch

from mambair_cli.batches import local
from mambair_cli.restoration.device import compute

STAND_INS = [torch.device("cpu:0"), torch.device("cpu:1")]


@pytest.fixture
def _two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "resolve_devices", lambda _: STAND_INS)


@pytest.fixture
def folder(make_image, tmp_path):
    for number in range(6):
        make_image(tmp_path / "in" / f"{number}.png", 20 + number, 13)
    return tmp_path / "in"


def test_two_devices_make_what_one_makes(mambair, weights, folder, tmp_path, monkeypatch):
    both = tmp_path / "both"
    common = ("sr", folder, "--weights", weights / "sr-x2.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(compute, "resolve_devices", lambda _: STAND_INS)
        outcome = mambair(*common, "-o", both, "-v")
    names = [f"{number}_x2.png" for number in range(6)]
    assert outcome.status == 0, outcome.err
    assert outcome.lines == [str(both / name) for name in names]
    told = outcome.err.splitlines()
    assert told[0].startswith("device: cpu (")
    assert told[0].count("cpu (") == 2
    assert told.count("model: test-sr-x2") == 1
    assert sum(line.startswith("weights: ") for line in told) == 1
    for number in range(6):
        image = folder / f"{number}.png"
        device, plan, *_ = (line for line in told if line.startswith(f"{image}: "))
        assert device in {f"{image}: on cpu:0", f"{image}: on cpu:1"}
        assert plan == f"{image}: running {20 + number}x13 pixels whole"
    assert mambair(*common, "-o", tmp_path / "one", "--device", "cpu").status == 0
    for name in names:
        assert (both / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.usefixtures("_two_devices")
def test_one_image_needs_one_device(mambair, weights, photo):
    outcome = mambair("sr", photo, "-v", "--weights", weights / "sr-x2.safetensors")
    assert outcome.status == 0
    assert "1 image: only cpu:0 works" in outcome.err.splitlines()
    assert "on cpu:" not in outcome.err


@pytest.mark.usefixtures("_two_devices")
def test_events_name_the_device(mambair, weights, folder, tmp_path):
    outcome = mambair(
        "sr", folder, "-o", tmp_path / "out", "--json", "--weights", weights / "sr-x2.safetensors"
    )
    started = [event for event in outcome.events if event["event"] == "file_started"]
    assert {event["device"] for event in started} <= {"cpu:0", "cpu:1"}
    assert sorted(event["source"] for event in started) == [
        event["source"] for event in outcome.events if event["event"] == "file_done"
    ]


def test_a_device_that_is_not_here(mambair, weights, photo):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for requested in ("cuda:0,cuda:1", "cuda:0"):
        outcome = mambair(
            "sr", photo, "--device", requested, "--weights", weights / "sr-x2.safetensors"
        )
        assert outcome.status == 1
        assert outcome.err.splitlines()[0] == (
            "error: device 'cuda:0' is not available: torch finds no CUDA device"
        )


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("gpu:1", "unknown device 'gpu:1'"),
        ("cuda,cuda:1", "'cuda' in devices 'cuda,cuda:1' has no number"),
    ],
)
def test_devices_that_cannot_be_meant(mambair, photo, requested, message):
    outcome = mambair("sr", photo, "--device", requested)
    assert outcome.status == 2
    assert outcome.err.splitlines()[0] == f"error: {message}"


def test_files_at_a_time(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12), raising=False)
    gpus = [torch.device("cuda:0"), torch.device("cuda:1")]
    assert local.io_threads([torch.device("cpu")]) == 0
    assert local.io_threads(gpus[:1]) == 8
    assert local.io_threads(gpus) == 12
