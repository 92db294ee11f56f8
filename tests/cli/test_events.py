"""What `--json` prints: every event of the schema, from command lines that are really run."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from event_lines import DOCS, EVENTS, SCHEMA, read_events
from hub_server import Repository
from PIL import Image

from mambair_cli.restoration import chain

TOLD: list[list[str]] = []


@pytest.fixture
def folder(make_image, tmp_path):
    """Two images that can be restored, one of them an animation, and one that is damaged."""
    folder = tmp_path / "in"
    make_image(folder / "a.png")
    frames = [Image.new("RGB", (44, 20), (40 * index, 90, 10)) for index in range(3)]
    frames[0].save(folder / "b.gif", save_all=True, append_images=frames[1:], duration=90)
    whole = make_image(folder / "failed Error.jpg").read_bytes()
    (folder / "failed Error.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def names(outcome):
    return [event["event"] for event in read_events(outcome.out)]


def of_kind(outcome, kind):
    return [event for event in read_events(outcome.out) if event["event"] == kind]


@pytest.fixture
def restore(mambair, weights, folder, tmp_path):
    """Runs `mambair sr --json` on the folder."""

    def run(*arguments):
        out = tmp_path / "out"
        chosen = () if "--weights" in arguments else ("--weights", weights / "sr-x2.safetensors")
        outcome = mambair("sr", folder, "-o", out, "--json", *chosen, *arguments)
        TOLD.append(names(outcome))
        return outcome

    return run


def test_success_failure_and_skips(restore, folder):
    outcome = restore()
    assert outcome.status == 1
    started = "file_started"
    assert [name for name in names(outcome) if name not in {"tile", "file_noted"}] == [
        *("plan", started, "file_done", started, "file_done", started, "file_failed"),
        *("notice", "summary"),
    ]
    (noticed,) = of_kind(outcome, "notice")
    assert (noticed["kind"], noticed["text"]) == ("changed", "colours reduced to 256")
    assert (noticed["count"], noticed["examples"]) == (1, [str(folder / "b.gif")])
    done = {event["source"]: event for event in of_kind(outcome, "file_done")}
    assert {source: event["images"] for source, event in done.items()} == {
        str(folder / "a.png"): 1,
        str(folder / "b.gif"): 3,
    }
    assert "animation timing" in done[str(folder / "b.gif")]["kept"]
    (failed,) = of_kind(outcome, "file_failed")
    assert failed["source"] == str(folder / "failed Error.jpg")
    assert failed["kind"] == "ImageError"
    again = restore("--resume")
    assert again.status == 1
    assert len(of_kind(again, "file_skipped")) == 2
    summary = read_events(again.out)[-1]
    counts = {name: summary[name] for name in ("restored", "skipped", "failed", "left")}
    assert counts == {"restored": 0, "skipped": 2, "failed": 1, "left": 0}


def test_what_of_a_folder_is_left_out_and_followed_is_told(restore, folder, tmp_path):
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    (tmp_path / "store").mkdir()
    (folder / "linked").symlink_to(tmp_path / "store", target_is_directory=True)
    outcome = restore("--dry-run", "-q")
    told = of_kind(outcome, "notice")
    assert [(each["kind"], each["text"], each["count"], each["examples"]) for each in told] == [
        ("left_out", "hidden", 1, [str(folder / ".hidden.png")]),
        ("left_out", "not images", 1, [str(folder / "notes.txt")]),
        ("followed", "linked folders", 1, [str(folder / "linked")]),
    ]
    assert "left out" not in outcome.err
    assert names(outcome)[:3] == ["notice"] * 3


def test_the_tiles_of_all_frames_are_counted_together(restore):
    tiles = [
        (event["done"], event["total"])
        for event in of_kind(restore("--tile", "32"), "tile")
        if event["source"].endswith("b.gif")
    ]
    assert tiles[-1] == (6, 6)
    assert sorted(tiles) == tiles


def test_a_dry_run_tells_files_and_totals(restore):
    outcome = restore("--dry-run")
    assert outcome.status == 1
    assert names(outcome) == ["file_planned", "file_planned", "file_planned", "plan"]
    image, animation, _ = read_events(outcome.out)[:3]
    assert (image["width"], image["height"], image["tiles"]) == (44, 26, 1)
    assert (animation["images"], animation["tiles"]) == (3, 3)


def test_an_interrupt_is_told_and_summed_up(restore, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(chain, "restore_images", interrupt)
    outcome = restore()
    assert outcome.status == 130
    *_, interrupted, summary = read_events(outcome.out)
    assert (interrupted["event"], interrupted["left"]) == ("interrupted", 3)
    assert (summary["event"], summary["restored"], summary["left"]) == ("summary", 0, 3)


def test_a_lost_device_and_a_download_are_told(restore, hub, weights, monkeypatch):
    content = (weights / "sr-x2.safetensors").read_bytes()
    hub.repositories["me/weights"] = Repository(files={"sr-x2.safetensors": content})
    calls, restore_images = [], chain.restore_images

    def lose_the_first(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return restore_images(*arguments, **options)

    monkeypatch.setattr(chain, "restore_images", lose_the_first)
    outcome = restore("--weights", "hf://me/weights/sr-x2.safetensors")
    (download,) = of_kind(outcome, "download")
    assert download["bytes"] == len(content)
    (lost,) = of_kind(outcome, "device_lost")
    assert lost["device"] == "cpu"
    assert [event["kind"] for event in of_kind(outcome, "file_failed")][:1] == ["BackendError"]
    assert outcome.status == 1


def test_every_event_was_told_by_a_command_line():
    if len(TOLD) < 5:
        pytest.skip("needs the tests before it")
    assert {name for run in TOLD for name in run} == EVENTS


def examples():
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "events.md").read_text(), re.DOTALL)
    return [event for block in blocks for event in read_events(block)]


def test_the_documentation_has_a_valid_example_of_every_event():
    assert {event["event"] for event in examples()} == EVENTS


@pytest.mark.parametrize("event", examples(), ids=lambda event: event["event"])
def test_the_schema_refuses_what_is_not_described(event):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for wrong in ({**event, "more": 1}, {**event, "version": 2}, {**event, "time": "now"}):
        with pytest.raises(jsonschema.ValidationError):
            read_events(json.dumps(wrong))
    for key in event:
        with pytest.raises(jsonschema.ValidationError):
            read_events(json.dumps({name: event[name] for name in event if name != key}))
