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
import yaml
from hub_server import Hub
from huggingface_hub import constants
from safetensors.torch import load, load_file

from mambair_cli.checkpoints import cache
from mambair_cli.checkpoints.reference import HubFile, HubReference
from mambair_cli.cli.console import Messages
from mambair_cli.cli.download import DownloadDisplay
from mambair_cli.disk import sha256_of

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
    assert f"downloading sr-x2.pth from me/weights, {size / 1e3:.1f} kB" in outcome.err
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
        (["push", "x.pth", "me/repo", "--name", "x.pth"], "'x.pth' does not end in .safetensors"),
        (
            ["push", "x.pth", "me/repo", "--name", "../x.safetensors"],
            "hf://me/repo/../x.safetensors names no file",
        ),
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


@pytest.fixture
def accepting(hub: Hub, monkeypatch) -> Hub:
    """A Hub that takes what is pushed."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    return hub


def test_push_and_use(accepting: Hub, mambair, weights):
    source = weights / "denoise-s25.safetensors"
    outcome = mambair("models", "push", source, "me/new", "--licence", "MIT")
    reference = "hf://me/new"
    assert (outcome.status, outcome.lines, outcome.err) == (0, [reference], "")
    files = accepting.repositories["me/new"].files
    assert files.keys() == {"model.safetensors", "config.json", "README.md"}
    assert load(files["model.safetensors"]).keys() == load_file(source).keys()
    config = json.loads(files["config.json"])
    assert (config["network"], config["upscale"], config["embed_dim"]) == ("MambaIR", 1, 16)
    card = files["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header == {
        "library_name": "mambair",
        "license": "mit",
        "pipeline_tag": "image-to-image",
        "tags": ["mambair"],
    }
    assert "\n---\n# test-denoise-s25\n" in card
    assert "## Scores" not in card
    assert f"    mambair denoise --sigma 25 photo.png --weights {reference}\n" in card
    assert re.search(r"^\| sigma \| 25 \|$", card, re.MULTILINE)
    assert mambair("models", "pull", reference).status == 0


@pytest.mark.usefixtures("accepting")
def test_what_was_pushed_comes_back_and_restores(mambair, weights, photo):
    source = weights / "sr-x2.safetensors"
    assert mambair("models", "push", source, "me/new").status == 0
    plain = ("sr", photo, "--scan", "reference", "--json", "-o")
    for name, reference in (("a.png", source), ("b.png", "hf://me/new")):
        assert mambair(*plain, photo.parent / name, "--weights", reference).status == 0
    assert (photo.parent / "a.png").read_bytes() == (photo.parent / "b.png").read_bytes()
    assert mambair("models", "path", "hf://me/new/").lines[0].endswith(".safetensors")
    assert mambair("models", "verify").lines == ["hf://me/new: ok"]
    assert mambair("models", "remove", "hf://me/new").status == 0


def test_push_to_a_repository_of_several(accepting: Hub, mambair, weights):
    for name in ("sr-x2", "sr-x4"):
        source = weights / f"{name}.safetensors"
        outcome = mambair("models", "push", source, "me/all", "--name", f"nets/{name}.safetensors")
        assert outcome.lines == [f"hf://me/all/nets/{name}.safetensors"]
    files = accepting.repositories["me/all"].files
    assert files.keys() == {"nets/sr-x2.safetensors", "nets/sr-x4.safetensors", "README.md"}
    assert mambair("models", "pull", "hf://me/all/nets/sr-x4.safetensors").status == 0


def report_of(weights: Path, **changes) -> dict:
    run = {
        "model": "test-sr-x2",
        "sha256": sha256_of(weights),
        "dataset": "Set5",
        "images": 5,
        "complete": True,
        "protocol": "paper",
        "precision": "fp32",
        "ensemble": False,
        "psnr": 37.543,
        "ssim": 0.9591,
    }
    return {"version": 1, "runs": [run, run | {"ensemble": True, "psnr": 37.6} | changes]}


def test_push_with_scores(accepting: Hub, mambair, weights, tmp_path):
    source, report = weights / "sr-x2.safetensors", tmp_path / "scores.json"
    report.write_text(json.dumps(report_of(source, complete=False, dataset="a | b")))
    assert mambair("models", "push", source, "me/new", "--scores", report).status == 0
    card = accepting.repositories["me/new"].files["README.md"].decode()
    (model,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert model["name"] == "test-sr-x2"
    assert [
        (result["dataset"]["name"], metric["type"], metric["value"])
        for result in model["results"]
        for metric in result["metrics"]
    ] == [
        ("Set5", "psnr", 37.543),
        ("Set5", "ssim", 0.9591),
        ("a | b, self-ensemble", "psnr", 37.6),
        ("a | b, self-ensemble", "ssim", 0.9591),
    ]
    assert "| Set5 | 5 | 37.543 | 0.9591 | the authors' partition: " in card
    assert r"| a \| b | 5 | 37.600 | 0.9591 | self-ensemble, the authors' partition: " in card
    assert "fp32; not all images of the set |" in card


REPORTS = {
    "missing": (None, "cannot be read: No such file"),
    "no JSON": ("psnr 37", "is no report of mambair bench as JSON"),
    "a list": ("[]", "is no report of mambair bench as JSON"),
    "deep": ("[" * 100_000, "is no report of mambair bench as JSON"),
    "another version": ('{"version": 9, "runs": []}', "is a report of version 9"),
    "empty": ('{"version": 1, "runs": []}', "has no score of"),
    "of other weights": (lambda: {"sha256": "0" * 64}, "it measured test-sr-x2"),
    "a perfect score": (lambda: {"psnr": None}, "lacks a score where one should be"),
    "no score": (lambda: {"psnr": "high"}, "lacks a score where one should be"),
    "another protocol": (lambda: {"protocol": "mine"}, "lacks a score where one should be"),
}


@pytest.mark.parametrize("kind", REPORTS)
def test_scores_that_cannot_be_used(hub: Hub, mambair, weights, tmp_path, kind):
    content, message = REPORTS[kind]
    source, report = weights / "sr-x2.safetensors", tmp_path / "scores.json"
    if callable(content):
        whole = report_of(source)
        whole["runs"] = [whole["runs"][0] | content()]
        content = json.dumps(whole)
    if content is not None:
        report.write_text(content)
    outcome = mambair("models", "push", source, "me/new", "--scores", report)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {report} ")
    assert message in outcome.err
    assert "hint: measure them: mambair bench" in outcome.err
    assert hub.requests == []


def test_push_leaves_the_model_card_of_a_repository_alone(accepting: Hub, mambair, weights):
    accepting.add("me/old", {"README.md": b"mine"})
    outcome = mambair("models", "push", weights / "sr-x2.safetensors", "me/old")
    assert (outcome.status, outcome.err) == (0, "the model card of me/old was left as it is\n")
    assert accepting.repositories["me/old"].files["README.md"] == b"mine"


def test_push_that_the_hub_refuses(hub: Hub, mambair, weights):
    hub.replies["/api/repos/create"] = (403, {"X-Error-Message": "no write access"}, b"")
    outcome = mambair("models", "push", weights / "sr-x2.safetensors", "they/own")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the Hub answers 403 for model.safetensors from they")


@pytest.mark.parametrize(
    ("size", "told"),
    [(None, "of unknown size"), (412, "0.4 kB"), (99_999, "100.0 kB"), (100_000, "0.1 MB")],
)
def test_sizes_of_downloads(size, told):
    assert (
        str(HubFile(HubReference("me/w", "x4.pth"), "1", "", size)) == f"x4.pth from me/w, {told}"
    )


def test_the_bar_shows_what_arrived(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    display = DownloadDisplay(Messages())
    display.started(HubFile(HubReference("me/w", "a/x4.pth"), "1", "", 82_000_000))
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
