"""Batches on a cluster of two nodes: the same results as without it, whatever is lost meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from mambair_cli.batches.events import FileStarted, TileDone
from mambair_cli.distributed import cluster as cluster_module
from mambair_cli.distributed import driver
from mambair_cli.distributed import records as records_module
from mambair_cli.distributed.job_queue import JobQueue

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Ray and its signals, as on Linux")


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".mambair-manifest.jsonl"
    }


def records(folder: Path) -> Counter[tuple[str, str]]:
    lines = (folder / ".mambair-manifest.jsonl").read_text().splitlines()
    return Counter((record["target"], record["status"]) for record in map(json.loads, lines))


@pytest.fixture
def on_cluster(cluster, mambair, options):  # noqa: ARG001 - it runs there
    def invoke(*arguments):
        return mambair("sr", *arguments, *options, "--engine", "ray", "-v")

    return invoke


class Workers:
    """Processes of the workers by name, read off what `-v` tells."""

    def __init__(self, monkeypatch):
        from mambair_cli.cli.console import Messages

        self.processes: dict[str, int] = {}
        detail = Messages.detail

        def read(messages, text):
            if found := re.match(r"(worker \d+): .*process (\d+)", text):
                self.processes[found[1]] = int(found[2])
            detail(messages, text)

        monkeypatch.setattr(Messages, "detail", read)

    def kill(self, name):
        os.kill(self.processes[name], signal.SIGKILL)


@pytest.fixture
def workers(monkeypatch):
    return Workers(monkeypatch)


@pytest.fixture
def together(monkeypatch):
    """No worker begins before both are there: starting takes longer than the work here."""
    there, both, join = set(), asyncio.Event(), JobQueue.join

    async def wait_for_both(queue, place):
        there.add(place)
        if len(there) == 2:
            both.set()
        await both.wait()
        await join(queue, place)

    monkeypatch.setattr(JobQueue, "join", wait_for_both)


@pytest.mark.usefixtures("together")
def test_results_events_and_records_are_those_without_a_cluster(
    on_cluster, photos, results, tmp_path
):
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 0, outcome.err
    assert content_of(out) == results
    assert set(records(out)) == {(name, status) for name in results for status in ("begun", "done")}
    assert set(records(out).values()) == {1}
    assert [event["target"] for event in outcome.named("file_done")] == [
        str(out / name) for name in results
    ]
    assert {event["device"] for event in outcome.named("file_started")} == {"worker 1", "worker 2"}
    assert outcome.named("summary")[0]["restored"] == 8
    assert "ray: 2 workers, 1 processor each" in outcome.err


@pytest.mark.slow
def test_a_bad_file_fails_alone_and_can_be_tried_again(on_cluster, photos, results, tmp_path):
    good = (photos / "3.png").read_bytes()
    (photos / "3.png").write_bytes(good[:99])
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 1
    assert [event["source"] for event in outcome.named("file_failed")] == [str(photos / "3.png")]
    assert records(out)["3_x2.png", "failed"] == 1
    (photos / "3.png").write_bytes(good)
    outcome = on_cluster(photos, "-o", out, "--retry-failed")
    assert (outcome.status, len(outcome.named("file_done"))) == (0, 1)
    assert content_of(out) == results


@pytest.mark.slow
def test_resume_does_what_is_missing_changed_or_cut(on_cluster, photos, results, tmp_path):
    out = tmp_path / "out"
    assert on_cluster(photos, "-o", out).status == 0
    (out / "0_x2.png").unlink()
    (out / "1_x2.png").write_bytes((out / "1_x2.png").read_bytes()[:-1])
    (photos / "2.png").write_bytes((photos / "4.png").read_bytes())
    outcome = on_cluster(photos, "-o", out, "--resume")
    assert outcome.status == 0, outcome.err
    done = {Path(event["target"]).name for event in outcome.named("file_done")}
    assert done == {"0_x2.png", "1_x2.png", "2_x2.png"}
    assert len(outcome.named("file_skipped")) == 5
    assert content_of(out) == results | {"2_x2.png": results["4_x2.png"]}


@pytest.mark.slow
def test_files_of_others_are_not_replaced(on_cluster, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "5_x2.png").write_bytes(b"not ours")
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 1
    (failure,) = outcome.named("file_failed")
    assert failure["error"] == f"{out / '5_x2.png'} exists already"
    assert (out / "5_x2.png").read_bytes() == b"not ours"


@pytest.mark.slow
def test_parts_make_the_whole(on_cluster, photos, results, tmp_path):
    out = tmp_path / "out"
    counts = [
        len(on_cluster(photos, "-o", out, "--shard", f"{i}/2").named("file_done")) for i in (1, 2)
    ]
    assert sum(counts) == 8
    assert 0 not in counts
    found = content_of(out)
    names = {".mambair-manifest-1-of-2.jsonl", ".mambair-manifest-2-of-2.jsonl"}
    assert found.keys() - results.keys() == names
    assert {name: found[name] for name in results} == results


def test_a_dry_run_writes_nothing(on_cluster, photos, tmp_path):
    outcome = on_cluster(photos, "-o", tmp_path / "out", "--dry-run")
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def killed(on_event, workers):
    """Has the first worker that starts a file from now on killed; holds its name then."""
    names = []

    def kill_once(event):
        if isinstance(event, FileStarted) and not names:
            names.append(event.device)
            workers.kill(event.device)

    on_event(kill_once)
    return names


@pytest.mark.slow
def test_a_killed_worker_costs_no_file(on_cluster, photos, results, killed, tmp_path):
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 0, outcome.err
    assert killed
    assert content_of(out) == results
    assert all(records(out)[name, "done"] == 1 for name in results)
    assert f"warning: {killed[0]} was lost: " in outcome.err


@pytest.mark.slow
def test_a_lost_node_costs_no_file(cluster, on_cluster, on_event, photos, results, tmp_path):
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    removed = []

    def remove_once(event):
        if isinstance(event, TileDone) and not removed:
            removed.append(node)
            cluster.remove_node(node, allow_graceful=False)

    on_event(remove_once)
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 0, outcome.err
    assert removed
    assert content_of(out) == results
    assert all(records(out)[name, "done"] == 1 for name in results)


@pytest.mark.slow
def test_a_file_that_kills_workers_fails_and_the_others_are_done(
    on_cluster, on_event, workers, photos, results, tmp_path
):
    def kill(event):
        if isinstance(event, FileStarted) and event.job.source.name == "2.png":
            workers.kill(event.device)

    on_event(kill)
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 1, outcome.err
    (failure,) = outcome.named("file_failed")
    assert failure["error"].startswith(
        f"{photos / '2.png'} was not restored: 3 workers were lost while they worked on it: "
    )
    del results["2_x2.png"]
    assert content_of(out) == results


@pytest.mark.slow
def test_several_files_at_a_time_on_a_worker_that_is_lost(
    on_cluster, photos, results, killed, tmp_path, monkeypatch
):
    """As on a GPU, which waits for no file that is read or written."""
    monkeypatch.setattr(cluster_module.Workers, "lanes", property(lambda _: 3))
    out = tmp_path / "out"
    outcome = on_cluster(photos, "-o", out)
    assert outcome.status == 0, outcome.err
    assert killed
    assert content_of(out) == results
    assert all(records(out)[name, "done"] == 1 for name in results)


@pytest.mark.slow
def test_a_folder_that_is_not_the_same_everywhere_is_told(
    on_cluster, photos, tmp_path, monkeypatch
):
    marked = records_module.marked

    @contextmanager
    def elsewhere(jobs):
        with marked(jobs) as marker:
            yield marker.with_name("of another machine")

    monkeypatch.setattr(driver, "marked", elsewhere)
    outcome = on_cluster(photos, "-o", tmp_path / "out")
    assert outcome.status == 1
    assert f"error: {tmp_path / 'out'} is not the same folder on " in outcome.err
    assert content_of(tmp_path / "out") == {}


@pytest.mark.slow
def test_interrupted_it_leaves_nothing_half_done_and_can_be_resumed(
    cluster, on_cluster, photos, results, weights, tmp_path
):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mambair_cli", "sr", photos, "-o", out, "--json"]
    command += ["--engine", "ray", "--ray-address", cluster.address]
    command += ["--weights", weights, "--scan", "torch"]
    # The nodes are in use by this process too, which must not keep them.
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if '"file_done"' in line:
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume" in errors
    left = content_of(out)
    assert left.items() <= results.items()
    outcome = on_cluster(photos, "-o", out, "--resume")
    assert outcome.status == 0, outcome.err
    assert len(outcome.named("file_skipped")) >= 1
    assert content_of(out) == results
