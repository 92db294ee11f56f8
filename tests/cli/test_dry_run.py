"""What `--dry-run` tells: files, tiles, time, memory, room on the disk; it does nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from PIL import Image

from mambair_cli.networks.mambair import MambaIR
from mambair_cli.restoration import costs


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def common(weights, photo, make_image, tmp_path):
    make_image(photo.with_name("second.png"), 70, 50)
    chosen = ("--weights", weights / "sr-x2.safetensors")
    return ("sr", photo.parent, "-o", tmp_path / "out", "--dry-run", *chosen)


def last(outcome):
    return outcome.events[-1]


def test_it_tells_files_and_totals_and_writes_nothing(mambair, common, photo, tmp_path):
    outcome = mambair(*common, "--tile", "32")
    assert (outcome.status, outcome.out) == (0, "")
    lines = outcome.err.splitlines()
    target = tmp_path / "out" / "photo_x2.png"
    assert f"would write {target} from {photo}: 44x26 pixels, 1 tile" in lines
    assert lines[-2].startswith("2 images to restore, 0.0 megapixels, 7 tiles: about ")
    assert lines[-1].startswith("results take at most 45.4 kB, ")
    assert not (tmp_path / "out").exists()


def test_its_numbers_are_those_of_the_run(mambair, common):
    plan = last(mambair(*common, "--tile", "32", "--json"))
    events = mambair(*(word for word in common if word != "--dry-run"), "--tile", "32", "--json")
    tiles = [event for event in events.events if event["event"] == "tile"]
    assert plan["tiles"] == sum(event["total"] for event in tiles if event["done"] == 0)
    done = [event for event in events.events if event["event"] == "file_done"]
    assert sum(event["bytes"] for event in done) <= plan["disk"][0]["most_bytes"] * 1.01 + 2000
    assert plan["seconds"] > 0
    assert plan["memory_bytes"] > 0


@pytest.fixture
def clock(monkeypatch):
    """Lets a second pass with every image that the network is given, and with nothing else."""
    seen = []
    forward = MambaIR.forward

    def count(network, x):
        seen.extend(x)
        return forward(network, x)

    monkeypatch.setattr(MambaIR, "forward", count)
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: len(seen)))


@pytest.mark.usefixtures("clock")
def test_time_grows_with_the_self_ensemble(mambair, common, monkeypatch):
    monkeypatch.setattr(costs, "MEASURED_SIDE", 24)
    plain, ensemble = (last(mambair(*common, "--json", *more)) for more in ((), ("--ensemble",)))
    assert plain["seconds"] > 0
    assert ensemble["seconds"] == pytest.approx(8 * plain["seconds"], abs=0.01)


def test_what_cannot_be_restored_is_named_with_its_reason(mambair, common, photo):
    photo.with_name("broken.png").write_text("no image")
    outcome = mambair(*common, "--max-pixels", "1000")
    assert outcome.status == 1
    refused = [line for line in outcome.err.splitlines() if line.startswith("would fail: ")]
    assert len(refused) == 2
    assert "broken.png is not a" in refused[0]
    assert "second.png" in refused[1]
    assert "error: 2 of 3 images would fail:" in outcome.err


def test_what_an_earlier_run_has_done_would_be_skipped(mambair, common):
    assert mambair(*(word for word in common if word != "--dry-run")).status == 0
    outcome = mambair(*common, "--resume", "--json")
    assert [event.get("skip") for event in outcome.events[:2]] == ["done by an earlier run"] * 2
    assert (last(outcome)["skipped"], last(outcome)["tiles"]) == (2, None)


def test_results_that_may_not_fit_fail_a_dry_run_and_warn_before_a_run(
    mambair, common, monkeypatch, tmp_path
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 999_000, 1000))
    outcome = mambair(*common)
    assert outcome.status == 1
    message = f"the results take up to 45.4 kB, 1.0 kB are free in {tmp_path}"
    assert f"error: not enough disk space: {message}" in outcome.err
    real = mambair(*(word for word in common if word != "--dry-run"))
    assert real.status == 0
    assert f"warning: the disk may become full: {message}" in real.err


@pytest.mark.usefixtures("hub")
def test_without_weights_no_time_is_told_and_nothing_is_fetched(mambair, photo, hub):
    outcome = mambair("sr", photo, "--scale", "4", "--model", "classic", "--dry-run")
    assert outcome.status == 0, outcome.err
    assert "time and memory are not known before the weights are here" in outcome.err
    assert hub.repositories == {}


@pytest.mark.parametrize("command", ["dejpeg", "denoise"])
def test_what_would_be_found_is_told(mambair, tmp_path, command):
    cat = Image.open(Path(__file__).parents[2] / "examples" / "cat.png").convert("RGB")
    fine, clean = tmp_path / "fine.jpg", tmp_path / "clean.png"
    cat.save(fine, quality=98)
    cat.save(clean)
    outcome = mambair(command, fine, clean, "--dry-run", "--json")
    first, second = (event for event in outcome.events if event["event"] == "file_planned")
    if command == "dejpeg":
        assert first["found"] == "JPEG quality 98: left alone, nothing to gain"
        assert "no blocks of one are found in it" in second["refusal"]
    else:
        assert second["found"].startswith("noise ")
        assert second["refusal"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"fine.jpg", "clean.png"}
