"""`mambair models pull|path|verify|remove|push` against a Hub on loopback."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import Hub
from huggingface_hub import constants
from safetensors.torch import load, load_file

from mambair_cli.checkpoints import cache
from mambair_cli.cli.console import Messages
from mambair_cli.cli.download import DownloadDisplay

NAME = "hf://me/weights/sr-x2.pth"
DENOISE = "hf://me/weights/denoise-s25.pth"


@pytest.fixture
def stocked(hub: Hub, weights: Path) -> Hub:
    """A Hub with a repository of two small networks."""
    files = {}
    for name in ("sr-x2", "denoise-s25"):
        buffer = io.BytesIO()
        torch.save({"params": load_file(weights / f"{name}.safetensors")}, buffer)
        files[f"{name}.pth"] = buffer.getvalue()
    hub.add("me/weights", files)
    return hub


def test_pull_prints_paths_and_says_sizes(stocked, mambair):
    outcome = mambair("models", "pull", NAME, DENOISE)
    assert outcome.status == 0
    assert outcome.lines == [str(cache.converted_of(NAME)), str(cache.converted_of(DENOISE))]
    size = len(stocked.repositories["me/weights"].files["sr-x2.pth"])
    assert f"downloading sr-x2.pth from me/weights, {size / 1e6:.1f} MB" in outcome.err
    again = mambair("models", "pull", NAME)
    assert (again.status, again.lines, again.err) == (0, outcome.lines[:1], "")
    assert "downloading" not in mambair("models", "pull", "mambair-tiny-sr-x4").err


def test_pull_as_json(stocked, mambair):
    events = mambair("models", "pull", NAME, "--json").events
    assert [event["event"] for event in events] == ["download", "fetched"]
    assert events[0]["revision"] == stocked.repositories["me/weights"].commit
    assert events[1] == {"event": "fetched", "id": NAME, "path": str(cache.converted_of(NAME))}
    outcome = mambair("models", "pull", "hf://me/other/x.pth", "--json")
    assert outcome.status == 1
    assert outcome.events == [
        {
            "event": "failed",
            "id": "hf://me/other/x.pth",
            "error": "there is no public model repository me/other",
            "hint": "give a token that may read it: set HF_TOKEN, or run: hf auth login",
        }
    ]


@pytest.mark.usefixtures("stocked")
def test_one_failed_download_does_not_keep_from_the_others_and_is_told(mambair):
    missing = "hf://me/weights/other.pth"
    outcome = mambair("models", "pull", missing, NAME)
    assert outcome.status == 1
    assert outcome.lines == [str(cache.converted_of(NAME))]
    assert f"failed: {missing}: me/weights has no other.pth; its weights files are:" in outcome.err
    assert f"error: 1 of 2 models failed: {missing}\n\nhint: " in outcome.err


def test_every_model_of_a_task_fails_without_the_hub(hub: Hub, mambair):
    outcome = mambair("models", "pull", "--task", "dejpeg")
    assert outcome.status == 1
    assert "6 models to fetch, about 465 MB" in outcome.err
    assert "error: 6 of 6 models failed" in outcome.err
    assert len(hub.asked("HEAD", "resolve")) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull"], "say which models"),
        (["pull", "mambair-light-sr-x2", "--all"], "say which models"),
        (["pull", "--task", "enlarge"], "unknown task 'enlarge'"),
        (["pull", "light"], "unknown model 'light'"),
        (["pull", "hf://me"], "hf://me is no reference to a file of a model repository"),
        (["path", "light"], "unknown model 'light'"),
        (["remove"], "say which models"),
        (["push", "x.pth", "repo"], "'repo' names no repository"),
        (["push", "x.pth", "me/a repo"], "'me/a repo' names no repository"),
        (["push", "x.pth", "me/repo/x4"], "'me/repo/x4' names no repository"),
        (["push", "x.pth", "datasets/repo"], "'datasets/repo' names no repository"),
        (["push", "x.pth", "me/repo", "--licence", "a b"], "'a b' is no SPDX identifier"),
    ],
)
def test_requests_that_cannot_be_meant(mambair, arguments, message):
    outcome = mambair("models", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}\n\nhint: ")


def test_path_does_not_fetch(stocked, mambair):
    outcome = mambair("models", "path", NAME)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"error: {NAME} was not fetched\n\nhint: fetch it: mambair models pull {NAME}\n"
    )
    assert stocked.requests == []
    fetched = mambair("models", "pull", NAME).lines
    assert mambair("models", "path", NAME.replace("hf://", "hf://models/")).lines == fetched
    assert mambair("models", "path", "mambair-tiny-sr-x4").lines[0].endswith("x4.safetensors")


@pytest.mark.usefixtures("stocked")
def test_verify_reads_everything_again(mambair):
    assert mambair("models", "verify").err == f"nothing was fetched to {cache.home()}\n"
    mambair("models", "pull", NAME, DENOISE)
    sound = mambair("models", "verify")
    assert (sound.status, sound.lines) == (0, [f"{DENOISE}: ok", f"{NAME}: ok"])
    path = cache.converted_of(NAME)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = mambair("models", "verify")
    assert (changed.status, changed.lines[0]) == (1, f"{DENOISE}: ok")
    assert changed.lines[1].startswith(f"{NAME}: {path} has changed: its sha256 is ")
    assert changed.err == (
        "error: 1 of 2 fetched files are damaged\n\n"
        f"hint: fetch them again: mambair models pull --force {NAME}\n"
    )
    path.write_bytes(content[:-1])
    (line, _) = mambair("models", "verify").lines[::-1]
    assert line == f"{NAME}: {path} has {len(content) - 1:,} bytes instead of {len(content):,}"
    path.unlink()
    rows = [json.loads(row) for row in mambair("models", "verify", "--json").lines]
    assert [row["damage"] for row in rows] == [None, f"{path} is missing"]
    assert mambair("models", "pull", "--force", NAME).status == 0
    assert mambair("models", "verify").status == 0


@pytest.mark.usefixtures("stocked")
def test_remove(mambair):
    mambair("models", "pull", NAME, DENOISE)
    assert mambair("models", "remove", NAME).err == f"removed {NAME}\n"
    assert not cache.converted_of(NAME).exists()
    again = mambair("models", "remove", NAME)
    assert (again.status, again.err.partition("\n")[0]) == (1, f"error: {NAME} was not fetched")
    assert mambair("models", "remove", "--all").status == 0
    assert cache.pins() == []


@pytest.mark.usefixtures("stocked")
def test_fetched_weights_are_used(mambair, photo):
    outcome = mambair("sr", photo, "--weights", NAME, "--scan", "reference", "--json")
    assert outcome.status == 0
    assert json.loads(outcome.lines[0])["event"] == "download"
    assert (photo.parent / "photo_x2.png").is_file()


def test_weights_that_cannot_be_fetched_fail_the_run(stocked, mambair, photo):
    stocked.repositories["me/weights"].gated = True
    outcome = mambair("sr", photo, "--weights", NAME)
    assert (outcome.status, outcome.out) == (1, "")
    assert "error: me/weights is handed out only to those who were granted access" in outcome.err
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("arguments", [("missing.png",), ("--dry-run",), ("--scale", "5")])
def test_nothing_is_fetched_in_vain(hub: Hub, mambair, photo, arguments):
    outcome = mambair("sr", photo, *arguments)
    assert outcome.status == (0 if arguments == ("--dry-run",) else 2), outcome.err
    assert hub.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "list"),
        ("models", "show", "mambair-light-sr-x4"),
        ("models", "path", "mambair-tiny-sr-x4"),
        ("models", "verify"),
    ],
    ids=" ".join,
)
def test_looking_loads_no_torch(arguments):
    program = (
        "import sys\nfrom mambair_cli.cli.main import run\n"
        f"status = run({arguments!r})\n"
        "sys.exit(status or len({'torch', 'numba', 'huggingface_hub'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_push_and_use(hub: Hub, mambair, weights, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    source = weights / "denoise-s25.safetensors"
    outcome = mambair("models", "push", source, "me/new", "--licence", "MIT")
    reference = "hf://me/new/test-denoise-s25.safetensors"
    assert (outcome.status, outcome.lines, outcome.err) == (0, [reference], "")
    files = hub.repositories["me/new"].files
    assert load(files["test-denoise-s25.safetensors"]).keys() == load_file(source).keys()
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: mambair\n")
    assert "\nlicense: mit\n---\n# test-denoise-s25\n" in card
    assert f"    mambair denoise --sigma 25 photo.png --weights {reference}\n" in card
    assert re.search(r"^\| sigma \| 25 \|$", card, re.MULTILINE)
    assert mambair("models", "pull", reference).status == 0


def test_push_leaves_the_model_card_of_a_repository_alone(hub: Hub, mambair, weights, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.add("me/old", {"README.md": b"mine"})
    assert mambair("models", "push", weights / "sr-x2.safetensors", "me/old").status == 0
    assert hub.repositories["me/old"].files["README.md"] == b"mine"


def test_push_that_the_hub_refuses(hub: Hub, mambair, weights):
    hub.replies["/api/repos/create"] = (403, {"X-Error-Message": "no write access"}, b"")
    outcome = mambair("models", "push", weights / "sr-x2.safetensors", "they/own")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the Hub answers 403 for test-sr-x2.safetensors from they")


def test_the_bar_shows_what_arrived(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    display = DownloadDisplay(Messages())
    file = type(
        "File", (), {"path": "a/x4.pth", "repo": "me/w", "revision": "1", "size": 82_000_000}
    )
    display.started(file())
    display.progressed(41_000_000, 82_000_000)
    display._progress.refresh()
    display.finished()
    shown = capfd.readouterr().err
    assert "downloading a/x4.pth from me/w, 82.0 MB" in shown
    assert "41.0/82.0 MB" in shown
    assert shown.index("x4.pth") < shown.index("41.0/82.0 MB")


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(mambair, monkeypatch, tmp_path):
    (tmp_path / "home").write_bytes(b"")
    monkeypatch.setenv("MAMBAIR_HOME", str(tmp_path / "home"))
    outcome = mambair("models", "verify")
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {tmp_path / 'home'} cannot be read: ")
