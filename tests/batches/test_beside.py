"""Small files of a batch side by side on a CPU."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from restoring import one_by_one

from mambair_cli.batches import beside
from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.beside import ALONE, SMALL_FILE, Beside
from mambair_cli.batches.events import FileDone, FileFailed, FileStarted, TileDone
from mambair_cli.batches.jobs import plan_jobs
from mambair_cli.batches.stages import FileOptions
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.steps import Step, Treatment
from mambair_cli.checkpoints.request import Request
from mambair_cli.imaging.files import InputFile
from mambair_cli.imaging.image import ImageSequence, RestorableImage
from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.plan import UNKNOWN_NETWORK, RestoreOptions
from mambair_cli.restoration.restorer import restore_image
from mambair_cli.restoration.sizing import Sizing

PATIENCE = 30  # seconds that a file waits for the one beside it
PAIR = Beside(files=2, threads=2)
SMALL, LARGE = (12, 9), (300, 220)


@pytest.fixture(autouse=True)
def _two_threads(tmp_path, monkeypatch):
    """Torch on two threads in an empty folder; after the test no other thread is left."""
    monkeypatch.chdir(tmp_path)
    threads, running = torch.get_num_threads(), set(threading.enumerate())
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert set(threading.enumerate()) <= running


def save(*sizes):
    """Images of noise; returns what is to be done with them."""
    for index, (width, height) in enumerate(sizes):
        values = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(values).save(f"{index:02}.png")
    sources = sorted(Path().glob("*.png"))
    return plan_jobs(
        sources, output=Path("out"), suffix="", format=None, recursive=False, overwrite=True
    )


def run(jobs, image, shared=PAIR, tell=lambda _: None, scale=1):
    def in_bands(*_):
        raise AssertionError("nothing should be restored in bands")

    restorers = {"cpu": one_by_one(image, in_bands)}
    files = FileOptions(scale=scale)
    return run_batch(jobs, restorers, tell, files=files, io_threads=0, beside=shared)


class Company:
    """Restores images as they are, and notes who was under way, on how many threads."""

    def __init__(self, together):
        self.seen, self.most = [], 0
        self._running, self._lock = 0, threading.Lock()
        self._pair = threading.Barrier(together, timeout=PATIENCE)

    def __call__(self, image, progress, *_):
        height, width = image.pixels.shape[:2]
        progress(0, 1)
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        if (width, height) == SMALL:
            self._pair.wait()
        with self._lock:
            self.seen.append(((width, height), torch.get_num_threads(), self._running))
        if (width, height) == SMALL:
            self._pair.wait()
        with self._lock:
            self._running -= 1
        progress(1, 1)
        return image


def test_small_files_run_at_the_same_time_on_a_share_of_the_threads_and_large_ones_alone():
    company = Company(2)
    summary = run(save(SMALL, SMALL, LARGE, SMALL, SMALL), company)
    assert len(summary.done) == 5
    assert company.seen == [(SMALL, 1, 2)] * 2 + [(LARGE, 2, 1)] + [(SMALL, 1, 2)] * 2


def test_one_after_the_other_where_nothing_is_shared():
    company = Company(1)
    assert len(run(save(SMALL, SMALL, LARGE), company, ALONE).done) == 3
    assert company.most == 1
    assert [threads for _, threads, _ in company.seen] == [2, 2, 2]


def test_a_large_file_is_not_read_before_it_has_all_memory(monkeypatch):
    company, read, running = Company(2), InputFile.read, []

    def watched(file):
        running.append(company._running)
        return read(file)

    monkeypatch.setattr(InputFile, "read", watched)
    run(save(SMALL, SMALL, LARGE, LARGE), company)
    assert running[2:] == [0, 0]


def test_events_come_as_if_files_took_turns():
    turns, together = [], []
    first_is_slow = threading.Event()

    def enlarge(image, progress, *_):
        for done in range(3):
            progress(done, 2)
        if image.pixels[0, 0, 0] == first:
            assert first_is_slow.wait(PATIENCE)
        else:
            first_is_slow.set()
        return image

    jobs = save(SMALL, SMALL, SMALL, SMALL, SMALL)
    Path("03.png").write_bytes(b"no image at all")
    first = -1
    run(jobs, enlarge, ALONE, turns.append)
    first = np.asarray(Image.open("00.png"))[0, 0, 0]
    first_is_slow.clear()
    summary = run(jobs, enlarge, PAIR, together.append)

    def plain(event):
        return type(event), event.job.source, getattr(event, "done", None)

    assert list(map(plain, together)) == list(map(plain, turns))
    assert sum(isinstance(event, FileStarted | TileDone) for event in together) == 4 * 4 + 1
    assert isinstance(together[-1], FileDone)
    assert [type(event) for event in summary.failed] == [FileFailed]


def test_an_interrupt_ends_what_runs_beside():
    begun = threading.Event()

    def wait_for_the_end(_, progress, *__):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt
        begun.set()
        while True:
            progress(0, 1)

    with pytest.raises(KeyboardInterrupt):
        run(save(SMALL, SMALL, SMALL), wait_for_the_end)


@pytest.fixture
def network():
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=16, d_state=2, depths=(1,))
    built = build_network(config).eval().requires_grad_(requires_grad=False)
    set_scan_backend(built, "numba")
    return built


def test_results_are_those_of_one_thread(network):
    spec, options = ModelSpec("stub", "sr", 2, 3), RestoreOptions()
    sizes = [SMALL, (31, 17), (20, 41), (9, 13), (31, 17)]

    def image(source, *callbacks):
        return restore_image(network, source, spec, options, *callbacks)

    jobs = save(*sizes)
    assert len(run(jobs, image, scale=2).done) == len(sizes)
    found = [job.target.read_bytes() for job in jobs]
    torch.set_num_threads(1)
    run(jobs, image, ALONE, scale=2)
    torch.set_num_threads(2)
    assert [job.target.read_bytes() for job in jobs] == found


def test_frames_of_one_file_run_side_by_side_too(network, monkeypatch):
    seen = set()
    forward = type(network).forward

    def watched(self, x):
        seen.add((threading.current_thread().name, len(x), torch.get_num_threads()))
        return forward(self, x)

    monkeypatch.setattr(type(network), "forward", watched)
    spec = ModelSpec("stub", "realsr", 2, 3)
    models = SimpleNamespace(
        device=torch.device("cpu"),
        treatment_of=lambda _: Treatment((Step(Request("realsr", 2)),), ""),
        suited_to=lambda _: SimpleNamespace(network=network, spec=spec),
    )
    values = np.random.default_rng(0).integers(0, 256, (6, 9, 12, 3), np.uint8)
    frames = ImageSequence(tuple(RestorableImage(each) for each in values))
    restore = restorer_with(models, RestoreOptions(), Sizing())
    together = restore.sequence(frames, lambda *_: None, lambda _: None)
    assert {name.rpartition("_")[0] for name, *_ in seen} == {"mambair-tile"}
    assert {(frames, threads) for _, frames, threads in seen} == {(1, 1)}
    torch.set_num_threads(1)
    alone = replace(restore, most_pixels=0).sequence(frames, lambda *_: None, lambda _: None)
    torch.set_num_threads(2)
    for one, other in zip(together.images, alone.images, strict=True):
        assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(
    ("files", "available", "threads", "side_by_side"),
    [
        (1, 2**40, 2, 1),
        (5, 2**40, 2, 2),
        (5, 2**40, 1, 1),
        (100, 2**40, 8, 8),
        (3, 2**40, 8, 3),
        (100, 2**20, 8, 1),
        (100, 8 * 10**9, 64, 3),
    ],
)
def test_as_many_as_threads_and_memory_allow(monkeypatch, files, available, threads, side_by_side):
    compute = Compute.resolve("cpu", scan="numba")
    monkeypatch.setattr(beside, "available_main_memory", lambda _: available)
    torch.set_num_threads(threads)
    planned = Beside.planned(files, compute, UNKNOWN_NETWORK, None)
    torch.set_num_threads(2)
    assert planned == Beside(side_by_side, threads)
    per_file = SMALL_FILE * 10_000
    assert planned.files == 1 or planned.files * per_file <= available


def test_never_on_a_gpu():
    compute = replace(Compute.resolve("cpu"), device=torch.device("cuda"))
    assert Beside.planned(9, compute, UNKNOWN_NETWORK, None).files == 1
