"""Patterns, lists of names, parts of a batch, failures tried again, from a command line on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest


def stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_what_a_pattern_matches_is_mirrored(enlarge, images):
    images("a/1.png", "a/b/2.png", "a/b/3.jpg")
    outcome = enlarge("a/**/*.png", "-o", "out")
    assert outcome.lines == ["out/1_x2.png", "out/b/2_x2.png"]


def test_a_list_of_files(enlarge, images, tmp_path):
    images("a.png", "b c.png", "d/e.png")
    (tmp_path / "list.txt").write_text("b c.png\n\nd\n")
    assert enlarge("a.png", "--files-from", "list.txt").lines == [
        "a_x2.png",
        "b c_x2.png",
        "d/e_x2.png",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_list_from_standard_input_ended_by_nul(enlarge, images, tmp_path, monkeypatch):
    images("two\nlines.png", os.fsdecode(b"caf\xe9.png"))
    stdin(monkeypatch, b"two\nlines.png\0caf\xe9.png\0")
    outcome = enlarge("--files-from", "-", "--null", "-o", "out")
    assert outcome.status == 0, outcome.err
    names = sorted(os.fsencode(path.name) for path in tmp_path.glob("out/*.png"))
    assert names == [b"caf\xe9_x2.png", b"two\nlines_x2.png"]


def refused(outcome, message, hint=""):
    assert (outcome.status, outcome.out) == (2, ""), outcome.err
    said, _, hinted = outcome.err.split("error: ")[1].partition("\n\nhint: ")
    assert said == message
    assert hint in hinted


def test_lists_that_are_none(enlarge, tmp_path, monkeypatch):
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "missing").write_text("x.png\n\ny.png\n")
    refused(enlarge("--files-from", "empty"), "--files-from empty names no files")
    refused(
        enlarge("--files-from", "no.txt"),
        "--files-from no.txt cannot be read: No such file or directory",
    )
    refused(
        enlarge("z.png", "--files-from", "missing"),
        "no such file or directory: z.png, x.png, y.png",
    )
    stdin(monkeypatch, b"a.png\0")
    refused(enlarge("--files-from", "-"), "the list of files has NUL bytes", "--null")


def test_no_input(mambair):
    for arguments in (("sr",), ("sr", "--null"), ("dejpeg", "-o", "out")):
        outcome = mambair(*arguments)
        assert outcome.status == 2
        assert outcome.err == (
            "error: no input was given\n\n"
            "hint: name images, folders or patterns, or take them --files-from\n"
        )


def test_addresses_need_a_cluster(enlarge, images):
    images("a.png")
    refused(
        enlarge("s3://bucket/a.png", "a.png", "-o", "memory://out"),
        "addresses are no files of this machine: s3://bucket/a.png, memory://out",
        "--engine ray",
    )


def test_an_address_of_this_machine_is_a_path(enlarge, images, tmp_path):
    images("d/a.png")
    outcome = enlarge(f"file://{tmp_path / 'd'}", "-o", f"file://{tmp_path / 'out'}")
    assert outcome.lines == [str(tmp_path / "out" / "a_x2.png")]


@pytest.mark.parametrize(
    ("arguments", "pair"),
    [
        (("-", "a.png"), "- and another input"),
        (("-", "--files-from", "x"), "- and --files-from"),
        (("-", "-o", "x"), "- and --output"),
        (("-", "--json"), "- and --json"),
        (("-", "--name", "{stem}.{ext}"), "- and --name"),
        (("-", "--suffix", "x"), "- and --suffix"),
        (("-", "--dry-run"), "- and --dry-run"),
        (("-", "--shard", "1/2"), "- and --shard"),
        (("-", "--resume"), "- and --resume"),
        (("-", "--retry-failed"), "- and --retry-failed"),
        (("-", "--engine", "ray"), "- and --engine ray"),
        (("a.png", "--name", "{stem}.{ext}", "--suffix", "x"), "--name and --suffix"),
        (("a.png", "--model", "tiny"), "--weights and --model"),
        (("a.png", "-q", "-v"), "--quiet and --verbose"),
    ],
)
def test_contradictory_options(enlarge, images, arguments, pair):
    images("a.png")
    refused(enlarge(*arguments), f"{pair} exclude each other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--null",), "--null does nothing without --files-from"),
        (("--ray-address", "h:1"), "--ray-address does nothing without --engine ray"),
    ],
)
def test_options_that_would_do_nothing(enlarge, images, arguments, message):
    images("a.png")
    refused(enlarge("a.png", *arguments), message)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--shard", value) for value in ("0/2", "3/2", "2", "a/b", "-1/2", "1/2/3", "")),
        *(("--tile", value) for value in ("big", "-1", "1.5")),
        *(("--max-pixels", value) for value in ("many", "1.5X", "1,5M", "-1", "")),
        *(("--max-memory", value) for value in ("4GB", "G", "-1G", "0")),
        ("--metadata", "some"),
        ("--quality-out", "0"),
        ("--overlap", "-1"),
        ("--engine", "slurm"),
    ],
)
def test_an_option_that_cannot_be_parsed_is_an_error(enlarge, images, option, value):
    images("a.png")
    outcome = enlarge("a.png", f"{option}={value}")
    assert (outcome.status, outcome.out) == (2, "")
    assert option in outcome.err
    assert "hint: see what it takes with: mambair sr --help" in outcome.err


def test_parts_of_a_batch_make_the_whole(enlarge, images, tmp_path):
    names = [f"in/{number}.png" for number in range(7)]
    images(*names)
    written = []
    for index in (1, 2, 3):
        outcome = enlarge("in", "-o", "out", "--shard", f"{index}/3")
        assert outcome.status == 0
        written += outcome.lines
        assert (tmp_path / "out" / f".mambair-manifest-{index}-of-3.jsonl").is_file()
    assert sorted(written) == [f"out/{number}_x2.png" for number in range(7)]
    again = enlarge("in", "-o", "out", "--resume")
    assert (again.status, again.lines) == (0, [])
    assert "7 skipped in " in again.err


def test_an_empty_part_is_no_failure(enlarge, images):
    images("a.png")
    outcomes = [enlarge("a.png", "-o", "out/", "--shard", f"{index}/2") for index in (1, 2)]
    assert [outcome.status for outcome in outcomes] == [0, 0]
    empty = next(outcome for outcome in outcomes if not outcome.lines)
    assert empty.err.splitlines()[-1] in (
        "there is no image in part 1/2: nothing to do",
        "there is no image in part 2/2: nothing to do",
    )


def test_an_empty_part_tells_programs_the_same_events(enlarge, images):
    images("a.png")
    outcomes = [enlarge("a.png", "-o", "out/", "--shard", f"{i}/2", "--json") for i in (1, 2)]
    told = min((outcome.lines for outcome in outcomes), key=len)
    plan, summary = map(json.loads, told)
    assert (plan["event"], plan["images"], plan["disk"]) == ("plan", 0, [])
    assert (summary["event"], summary["restored"], summary["left"]) == ("summary", 0, 0)


def test_collisions_of_the_whole_batch_are_refused_in_every_part(enlarge, images):
    images("a/1.png", "b/1.png")
    for index in (1, 2):
        outcome = enlarge("a", "b", "-o", "out", "--shard", f"{index}/2")
        refused(outcome, "a/1.png and b/1.png would both be written to out/1_x2.png")


def test_failures_alone_are_tried_again(enlarge, images, make_image, tmp_path):
    images("in/a.png", "in/c.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    assert enlarge("in", "-o", "out").status == 1
    still = enlarge("in", "-o", "out", "--retry-failed")
    assert (still.status, still.lines) == (1, [])
    make_image(tmp_path / "in" / "b.png")
    images("in/d.png")
    again = enlarge("in", "-o", "out", "--retry-failed")
    assert (again.status, again.lines) == (0, ["out/b_x2.png"])
    none = enlarge("in", "-o", "out", "--retry-failed")
    assert (none.status, none.lines) == (0, [])
    assert none.err.splitlines()[-1] == "no image failed in an earlier run: nothing to do"
    rest = enlarge("in", "-o", "out", "--resume")
    assert rest.lines == ["out/d_x2.png"]


def test_the_only_failure_is_tried_again(enlarge, make_image, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    assert enlarge("a.png", "b.png", "-o", "out").status == 1
    make_image(tmp_path / "b.png")
    again = enlarge("a.png", "b.png", "-o", "out", "--retry-failed")
    assert (again.status, again.lines) == (1, ["out/b_x2.png"])


def test_failures_of_other_parts_are_tried_again(enlarge, images, make_image, tmp_path):
    images(*(f"in/{number}.png" for number in range(4)))
    (tmp_path / "in" / "broken.png").write_text("no image")
    statuses = [enlarge("in", "-o", "out", "--shard", f"{i}/2").status for i in (1, 2)]
    assert sorted(statuses) == [0, 1]
    make_image(tmp_path / "in" / "broken.png")
    assert enlarge("in", "-o", "out", "--retry-failed").lines == ["out/broken_x2.png"]


def test_the_record_says_what_a_result_was_made_from(enlarge, images, tmp_path):
    images("in/a.png", "in/deep/b.png")
    assert enlarge("in", "-o", "out", "--metadata", "private").status == 0
    lines = (tmp_path / "out" / ".mambair-manifest.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["status"] for record in records if "target" not in record] == [
        "planned",
        "ended",
    ]
    records = [record for record in records if "target" in record]
    assert {(record["target"], record["source"]) for record in records} == {
        ("a_x2.png", "../in/a.png"),
        ("deep/b_x2.png", "../in/deep/b.png"),
    }
    recipe = records[0]["recipe"]
    assert recipe["metadata"] == "private"
    assert "max_memory" not in recipe
    assert len(recipe["weights"]) == 64


def test_another_option_makes_the_result_again(enlarge, images):
    images("in/a.png")
    options = ["in", "-o", "out", "--resume"]
    assert enlarge(*options).lines == ["out/a_x2.png"]
    for change in (
        ("--metadata", "strip"),
        ("--quality-out", "80"),
        ("--ensemble",),
        ("--tile", "16", "--overlap", "4"),
    ):
        options += change
        assert enlarge(*options).lines == ["out/a_x2.png"], change
    assert enlarge(*options, "--max-memory", "3G", "--max-pixels", "1M").lines == []


def test_an_output_that_is_not_ours_is_not_replaced_by_resuming(enlarge, images):
    images("in/a.png", "in/b.png", "out/a_x2.png")
    outcome = enlarge("in", "-o", "out", "--resume")
    assert (outcome.status, outcome.lines) == (1, ["out/b_x2.png"])
    assert "error: 1 of 2 images failed:\n  out/a_x2.png exists already\n" in outcome.err


def test_resuming_removes_what_a_killed_run_left(enlarge, images, tmp_path):
    images("in/a.png", "in/deep/b.png", "out/deep/b_x2.png")
    left = [tmp_path / "out" / ".mambair-00.tmp", tmp_path / "out" / "deep" / ".mambair-ff.tmp"]
    for path in left:
        path.write_bytes(b"half")
    enlarge("in", "-o", "out", "--resume", "--shard", "1/1")
    assert all(path.exists() for path in left)
    outcome = enlarge("in", "-o", "out", "--resume", "-v")
    assert "2 unfinished files of an earlier run removed" in outcome.err
    assert not any(path.exists() for path in left)


@pytest.mark.slow
def test_parts_run_at_the_same_time(images, weights, tmp_path):
    images(*(f"in/{number:02}.png" for number in range(24)))
    command = [sys.executable, "-m", "mambair_cli", "sr", "in", "-o", "out"]
    command += ["--weights", str(weights / "sr-x2.safetensors")]
    processes = [
        subprocess.Popen([*command, "--shard", f"{index}/3"], cwd=tmp_path, stdout=subprocess.PIPE)
        for index in (1, 2, 3)
    ]
    written = b"".join(process.communicate(timeout=300)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(written.splitlines()) == [b"out/%02d_x2.png" % number for number in range(24)]
    again = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, check=False, timeout=300
    )
    assert (again.returncode, again.stdout) == (0, b"")
    assert len(list((tmp_path / "out").iterdir())) == 24 + 3
