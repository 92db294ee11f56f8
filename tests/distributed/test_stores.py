"""Batches between stores: bytes, records and resumption are those of folders."""

from __future__ import annotations

import json

import pytest
from fsspec.implementations.memory import MemoryFileSystem

PREFIX = "/out/.mambair-manifest-"


@pytest.fixture
def store(photos):
    """The images, in the memory of this process."""
    files = MemoryFileSystem()
    files.put(f"{photos}/", "/in", recursive=True)
    yield files
    for folder in ("/in", "/out"):
        if files.exists(folder):
            files.rm(folder, recursive=True)


@pytest.fixture
def on_cluster(cluster, mambair, options):  # noqa: ARG001 - it runs there
    def invoke(*arguments):
        return mambair("sr", *arguments, *options, "--engine", "ray")

    return invoke


def results_in(files):
    return {
        path.removeprefix("/out/"): files.cat_file(path)
        for path in files.find("/out")
        if not path.startswith(PREFIX)
    }


def recorded(files):
    lines = [
        json.loads(line)
        for path in sorted(files.find("/out"))
        if path.startswith(PREFIX)
        for line in files.cat_file(path).splitlines()
    ]
    return [(record["target"], record["status"]) for record in lines]


@pytest.mark.slow
def test_from_memory_to_memory(store, on_cluster, results):
    for name in ("1", "2", "3", "4", "5"):
        store.rm_file(f"/in/{name}.png")
    wanted = {name: results[name] for name in ("0_x2.png", "sub/6_x2.png", "sub/7_x2.png")}
    outcome = on_cluster("memory://in", "-o", "memory://out")
    assert outcome.status == 0, outcome.err
    assert results_in(store) == wanted
    assert sorted(recorded(store)) == sorted(
        (name, status) for name in wanted for status in ("begun", "done")
    )
    assert [event["target"] for event in outcome.named("file_done")] == [
        f"memory://out/{name}" for name in wanted
    ]
    assert outcome.named("file_done")[0]["source"] == "memory://in/0.png"


@pytest.mark.slow
def test_what_is_there_is_skipped_and_what_is_cut_is_done_again(store, on_cluster, results):
    assert on_cluster("memory://in/*.png", "-o", "memory://out").status == 0
    store.pipe_file("/out/0_x2.png", results["0_x2.png"][:-1])
    store.pipe_file("/in/1.png", store.cat_file("/in/2.png"))
    store.pipe_file("/in/3.png", b"no image")
    outcome = on_cluster("memory://in/*.png", "-o", "memory://out", "--resume")
    assert outcome.status == 1
    assert len(outcome.named("file_done")) == 2
    assert len(outcome.named("file_skipped")) == 3
    (failure,) = outcome.named("file_failed")
    assert failure["error"].startswith("memory://in/3.png ")
    assert results_in(store)["0_x2.png"] == results["0_x2.png"]
    assert results_in(store)["1_x2.png"] == results["2_x2.png"]


@pytest.mark.slow
def test_from_a_folder_to_memory_and_back(store, on_cluster, photos, results, tmp_path):
    outcome = on_cluster(f"file://{photos}", "-o", "memory://out")
    assert outcome.status == 0, outcome.err
    assert results_in(store) == results
    out = tmp_path / "out"
    outcome = on_cluster("memory://in", "-o", f"file://{out}")
    assert outcome.status == 0, outcome.err
    assert {name: (out / name).read_bytes() for name in results} == results
