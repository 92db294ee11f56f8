"""A worker by itself, without a cluster around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.batches.events import FileDone, FileNoted
from mambair_cli.batches.models import LocalWeights
from mambair_cli.batches.stages import FileOptions
from mambair_cli.checkpoints.catalogue import bundled_directory
from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.request import Request
from mambair_cli.distributed.messages import FileResult, FileTask, Setup
from mambair_cli.distributed.worker import Worker
from mambair_cli.errors import BackendError
from mambair_cli.restoration import chain
from mambair_cli.restoration.plan import RestoreOptions


def ready(*asked: object, scan: str) -> Worker:
    """A worker on one processor that has loaded what it needs; takes what `Setup` begins with."""
    worker = Worker(Setup(*asked, scan=scan, device="cpu", processors=1, share=1))
    worker.ready()
    return worker


@pytest.fixture
def worker_within(weights: Path):
    """Makes a worker that has so many bytes of memory."""

    def make(max_memory: int | None) -> Worker:
        return ready(
            Request("sr", scale=2, weights=str(weights)),
            {"": LocalWeights(weights)},
            RestoreOptions(tile=32, overlap=8),
            FileOptions(scale=2, max_memory=max_memory),
            scan="torch",
        )

    return make


@pytest.fixture
def restored(worker_within, tmp_path: Path):
    """Restores `in.png` to a file of the given name, within so many bytes of memory."""

    def restore(name: str, max_memory: int | None) -> Path:
        source, target = tmp_path / "in.png", tmp_path / name
        worker = worker_within(max_memory)
        *_, result = worker.restore(FileTask(source, target, (str(source), str(target))))
        assert isinstance(result, FileResult)
        assert isinstance(result.outcome, FileDone), result.outcome
        return target

    return restore


def test_an_image_larger_than_memory_is_restored_in_bands(restored, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (150, 70, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.png")
    whole = np.asarray(Image.open(restored("whole.png", None)))
    monkeypatch.setattr(chain, "restore_images", None)
    bands = np.asarray(Image.open(restored("bands.png", 1)))
    assert whole.shape == (300, 140, 3)
    assert np.array_equal(whole, bands)


def test_what_comes_after_the_end_is_refused(worker_within, tmp_path):
    """Its process is ended as soon as nothing runs, whatever is on its way to it."""
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.new("RGB", (20, 12)).save(source)
    worker = worker_within(None)
    worker.stop()
    with pytest.raises(BackendError, match="the run was interrupted"):
        list(worker.restore(FileTask(source, target, (str(source), str(target)))))
    assert not target.exists()


def test_what_fix_needs_is_chosen_among_the_weights_that_were_sent(tmp_path):
    request, source = Request("fix"), tmp_path / "in.jpg"
    entries = [case.choose("cpu").entry for case in request.every_case()]
    worker, target = (
        ready(
            request,
            {entry.id: LocalWeights(bundled_directory() / str(entry.bundled)) for entry in entries},
            RestoreOptions(tile=0),
            FileOptions(),
            scan="torch",
        ),
        tmp_path / "out.jpg",
    )
    Image.open(Path(__file__).parents[2] / "examples" / "cup_q10.jpg").crop((0, 0, 48, 32)).save(
        source, quality=30
    )
    *noted, result = worker.restore(FileTask(source, target, (str(source), str(target))))
    assert isinstance(result, FileResult)
    assert isinstance(result.outcome, FileDone), result.outcome
    (steps,) = (event.steps for event in noted if isinstance(event, FileNoted) and event.steps)
    assert [step.task for step in steps] == ["dejpeg", "denoise-real"]
    assert Image.open(target).size == (48, 32)


def test_what_is_done_before_comes_with_the_weights(weights: Path, tmp_path: Path):
    model = load_checkpoint(weights)
    after, clean = tmp_path / "after.safetensors", "mambair-tiny-dejpeg-color"
    spec = replace(model.spec, task="realsr", after="dejpeg")
    write_checkpoint(after, model.network, spec)
    worker = ready(
        Request("realsr", scale=2, weights=str(after)),
        {
            "": LocalWeights(after),
            clean: LocalWeights(bundled_directory() / f"{clean}.safetensors"),
        },
        RestoreOptions(),
        FileOptions(scale=2),
        scan="auto",
    )
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    Image.radial_gradient("L").convert("RGB").resize((50, 34)).save(source, quality=30)
    *told, result = worker.restore(FileTask(source, target, (str(source), str(target))))
    assert isinstance(result.outcome, FileDone), result.outcome
    found = [each.text for each in told if isinstance(each, FileNoted)]
    assert "found: JPEG quality 30: dejpeg, realsr x2" in found
