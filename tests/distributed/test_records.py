"""Records below an address: segments that are written whole, and read together."""

from __future__ import annotations

import json

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry, Manifest
from mambair_cli.batches.urls import Url
from mambair_cli.distributed.records import Records
from mambair_cli.errors import ImageError, OutputError

RECIPE = {"weights": "w", "tile": "auto"}
ROOT = Url.parse("memory://records")


@pytest.fixture(autouse=True)
def store():
    files = MemoryFileSystem()
    files.makedirs("/records", exist_ok=True)
    yield files
    files.rm("/records", recursive=True)


def job(name, refusal=None):
    return Job(Url.parse(f"memory://in/{name}"), ROOT / name, ROOT, refusal)


def entry(name, **values):
    return Entry("i", RECIPE, source=Url.parse(f"memory://in/{name}"), **values)


def segments():
    return sorted(path.rpartition("/")[2] for path in MemoryFileSystem().find("/records"))


def test_nothing_is_kept_before_it_is_flushed_and_segments_are_never_rewritten():
    records = Records(RECIPE)
    records.begin(job("a.png"))
    assert segments() == []
    records.flush()
    (first,) = segments()
    assert first.startswith(".mambair-manifest-")
    records.finish(job("a.png"), entry("a.png", output="o", size=3))
    records.flush(older_than=60)
    assert segments() == [first]
    records.flush()
    assert len(segments()) == 2
    records.flush()
    assert len(segments()) == 2


def test_segments_of_several_runs_are_read_together():
    one, two = Records(RECIPE, shard=(1, 2)), Records(RECIPE, shard=(2, 2))
    one.begin(job("a.png"))
    one.finish(job("a.png"), entry("a.png", output="o", size=3))
    two.begin(job("sub/b.png"))
    two.fail(job("sub/b.png"), None, ImageError("damaged"))
    one.flush()
    two.flush()
    assert {name.partition("-of-2-")[0] for name in segments()} == {
        ".mambair-manifest-1",
        ".mambair-manifest-2",
    }
    manifest = Manifest(ROOT)
    assert manifest.last_done(ROOT / "a.png").output == "o"
    assert manifest.has_failed(ROOT / "sub/b.png")
    assert list(manifest.outputs()) == [
        (ROOT / "a.png", Url.parse("memory://in/a.png")),
        (ROOT / "sub/b.png", Url.parse("memory://in/sub/b.png")),
    ]


def test_what_is_ours_may_be_resumed_and_what_is_not_is_refused(store):
    before = Records(RECIPE)
    before.begin(job("a.png"))
    before.finish(job("a.png"), entry("a.png", output="o", size=3))
    before.flush()
    refused = job("a.png", OutputError("exists"))
    assert Records(RECIPE).refusal(refused) is refused.refusal
    resumed = Records(RECIPE, resume=True)
    assert resumed.refusal(refused) is None
    assert resumed.refusal(job("b.png", OutputError("exists"))).message == "exists"
    # Only this process sees what is in its memory: it looks whether the output is still there.
    assert resumed.done_before(job("a.png")) is None
    store.pipe_file("/records/a.png", b"123")
    assert resumed.done_before(job("a.png")).output == "o"
    assert Records(RECIPE).done_before(job("a.png")) is None


def test_a_folder_keeps_addresses_of_inputs(tmp_path):
    here = Job(Url.parse("s3://b/in/a.png"), tmp_path / "a.png", tmp_path)
    records = Records(RECIPE)
    records.begin(here)
    (line,) = (tmp_path / ".mambair-manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "s3://b/in/a.png"
    manifest = Manifest(tmp_path)
    assert list(manifest.outputs()) == [(tmp_path / "a.png", Url.parse("s3://b/in/a.png"))]


def test_a_run_without_records_writes_none():
    records = Records(None)
    records.begin(job("a.png"))
    records.finish(job("a.png"), entry("a.png"))
    records.fail(job("a.png"), None, ImageError("damaged"))
    records.flush()
    assert segments() == []


def test_a_segment_that_cannot_be_written_is_told(monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    records = Records(RECIPE)
    records.begin(job("a.png"))
    with pytest.raises(OutputError, match=r"cannot be written: .*Access Denied"):
        records.flush()
