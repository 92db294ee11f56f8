"""Several devices, threads that read and write, failures and interrupts among them."""

import copy
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from restoring import one_by_one

from mambair_cli.batches import queues, stages
from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.events import (
    DeviceLost,
    FileDone,
    FileFailed,
    FileNoted,
    FileStarted,
    TileDone,
)
from mambair_cli.batches.jobs import plan_jobs
from mambair_cli.batches.stages import FileOptions
from mambair_cli.errors import OutputError
from mambair_cli.imaging.files import InputFile
from mambair_cli.networks import MambaIRConfig, build_network
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

PATIENCE = 30  # seconds that a test waits for another thread before it fails
PLACES = ((InputFile, "read"), (stages, "write_images"))
LOST = "CUDA error: an illegal memory access was encountered\nmore for developers"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """An empty folder `in`; after the test no thread is left."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def save(count):
    """Images of 12x9 pixels, the first black, each a shade brighter; returns their names."""
    for index in range(count):
        Image.new("RGB", (12, 9), (index, 0, 0)).save(f"in/{index:02}.png")
    return [f"{index:02}.png" for index in range(count)]


def index_of(image):
    return int(image.pixels[0, 0, 0])


def enlarge(image, progress, *_):
    progress(0, 1)
    progress(1, 1)
    return replace(image, pixels=image.pixels.repeat(2, 0).repeat(2, 1))


def never(*_):
    raise AssertionError("nothing should be restored in bands")


def lose(*_):
    raise RuntimeError(LOST)


def await_stop(_, progress, *__):
    while True:
        progress(0, 1)


def run(tell=lambda _: None, *, output="out", options=None, **restorers):
    jobs = plan_jobs(
        [Path("in")],
        output=Path(output),
        suffix="",
        format=None,
        recursive=True,
        overwrite=False,
    )
    return run_batch(
        jobs,
        {device: one_by_one(restore, never) for device, restore in restorers.items()},
        tell,
        files=FileOptions(scale=2),
        recipe=lambda _: {"weights": "w"},
        **(options or {}),
    )


def names(events, kind=object):
    return [event.job.source.name for event in events if isinstance(event, kind)]


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).glob("*.png")}


class Recorder(list):
    """Keeps events, and sets a flag at the first one that it waits for."""

    def __init__(self, awaited):
        super().__init__()
        self.flag = threading.Event()
        self._awaited = awaited

    def __call__(self, event):
        self.append(event)
        if self._awaited(event):
            self.flag.set()


class Meeting:
    """Restores once each device holds an image, so that none goes without."""

    def __init__(self, devices):
        self._barrier = threading.Barrier(devices)
        self._met = threading.local()

    def __call__(self, image, progress, *_):
        if not hasattr(self._met, "once"):
            self._met.once = self._barrier.wait(PATIENCE)
        return enlarge(image, progress)


@pytest.mark.parametrize("io_threads", [1, 3])
def test_devices_share_the_jobs_and_outcomes_keep_their_order(io_threads):
    saved = save(9)
    meeting, events = Meeting(2), []
    summary = run(events.append, one=meeting, other=meeting, options={"io_threads": io_threads})
    assert names(summary.done) == names(events, FileDone) == saved
    assert sorted(names(events, FileStarted)) == saved
    assert {event.device for event in events if isinstance(event, FileStarted)} == {"one", "other"}
    assert {event.total for event in events if isinstance(event, FileStarted)} == {9}
    run(one=enlarge, output="alone")
    assert contents("out") == contents("alone")
    again = run(one=lose, other=lose, options={"resume": True})
    assert names(again.skipped) == saved


def test_without_threads_one_thing_happens_at_a_time(monkeypatch):
    saved = save(3)
    busy, seen = threading.Lock(), []

    def alone(owner, stage):
        function = getattr(owner, stage)

        def watched(target, *rest, **options):
            assert busy.acquire(blocking=False)
            try:
                seen.append((stage, getattr(target, "path", target).name))
                return function(target, *rest, **options)
            finally:
                busy.release()

        monkeypatch.setattr(owner, stage, watched)

    for place in PLACES:
        alone(*place)

    def restore(image, progress, *_):
        with busy:
            return enlarge(image, progress)

    summary = run(one=restore, options={"io_threads": 0})
    assert names(summary.done) == saved
    assert seen == [(stage, name) for name in saved for _, stage in PLACES]


def test_without_threads_one_bad_file_fails_alone():
    first, bad, last = save(3)
    Path("in", bad).write_bytes(b"no image")
    summary = run(one=enlarge, options={"io_threads": 0})
    assert (names(summary.done), names(summary.failed)) == ([first, last], [bad])


@pytest.mark.parametrize("where", PLACES)
def test_without_threads_an_interrupt_passes(monkeypatch, where):
    save(2)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(one=enlarge, options={"io_threads": 0})
    assert not [path for path in Path("out").glob("*") if path.suffix == ".png"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_without_threads_an_interrupt_finishes_the_file_that_is_being_written(monkeypatch):
    saved = save(3)
    main, write_images = threading.get_ident(), stages.write_images

    def write(path, *rest, **options):
        if path.name == saved[1]:
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.05)
        return write_images(path, *rest, **options)

    monkeypatch.setattr(stages, "write_images", write)
    events = []
    with pytest.raises(KeyboardInterrupt):
        run(events.append, one=enlarge, options={"io_threads": 0})
    assert names(events, FileDone) == saved[:2]
    assert sorted(contents("out")) == saved[:2]
    assert names(run(one=enlarge, options={"resume": True}).skipped) == saved[:2]


def test_outcomes_wait_for_those_before_them(monkeypatch):
    saved = save(3)
    written, write_images = threading.Event(), stages.write_images

    def write(path, *arguments, **options):
        write_images(path, *arguments, **options)
        if path.name == saved[2]:
            written.set()

    def restore(image, progress, *_):
        assert index_of(image) > 0 or written.wait(PATIENCE)
        return enlarge(image, progress)

    monkeypatch.setattr(stages, "write_images", write)
    events = []
    summary = run(events.append, one=restore, other=restore)
    assert names(summary.done) == names(events, FileDone) == saved


def test_reading_and_writing_go_on_while_the_network_works(monkeypatch):
    saved = save(4)
    read, written = threading.Event(), threading.Event()
    read_file, write_images = InputFile.read, stages.write_images

    def read_and_tell(file):
        images = read_file(file)
        if file.path.name == saved[2]:
            read.set()
        return images

    def write_and_tell(path, *arguments, **options):
        write_images(path, *arguments, **options)
        if path.name == saved[0]:
            written.set()

    def restore(image, progress, *_):
        if index_of(image) == 1:
            assert read.wait(PATIENCE)
            assert written.wait(PATIENCE)
        return enlarge(image, progress)

    monkeypatch.setattr(InputFile, "read", read_and_tell)
    monkeypatch.setattr(stages, "write_images", write_and_tell)
    assert names(run(one=restore).done) == saved


@pytest.mark.parametrize(("pixels", "ahead"), [(2**26, 4), (12 * 9, 1), (1, 1)])
def test_what_waits_is_bounded_by_number_and_by_pixels(monkeypatch, pixels, ahead):
    saved = save(12)
    read_file, lock = InputFile.read, threading.Lock()
    waiting, most = 0, 0

    def read(file):
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        return read_file(file)

    def restore(image, progress, *_):
        nonlocal waiting
        with lock:
            waiting -= 1
        return enlarge(image, progress)

    monkeypatch.setattr(queues, "WAITING_PIXELS", pixels)
    monkeypatch.setattr(InputFile, "read", read)
    assert names(run(one=restore, options={"io_threads": 4}).done) == saved
    assert most <= ahead + 1  # and the one that was taken but is not counted out yet


def test_a_large_result_is_written_before_the_next_is_made(monkeypatch):
    saved = save(5)
    monkeypatch.setattr(queues, "WAITING_PIXELS", 24 * 18 - 1)

    def restore(image, progress, *_):
        assert sorted(contents("out")) == saved[: index_of(image)]
        return enlarge(image, progress)

    assert names(run(one=restore, options={"io_threads": 4}).done) == saved


def test_a_file_that_cannot_be_written_fails_alone(monkeypatch):
    saved = save(4)
    write_images = stages.write_images

    def write(path, *arguments, **options):
        if path.name == saved[1]:
            raise OutputError(f"cannot write {path}: no space", "free some")
        write_images(path, *arguments, **options)

    monkeypatch.setattr(stages, "write_images", write)
    summary = run(one=enlarge)
    assert names(summary.done) == [saved[0], *saved[2:]]
    assert [f.error.message for f in summary.failed] == ["cannot write out/01.png: no space"]


def test_what_a_lost_device_worked_on_is_done_by_another():
    saved = save(6)
    events = Recorder(lambda event: isinstance(event, DeviceLost))

    def wait_and_enlarge(image, progress, *_):
        assert events.flag.wait(PATIENCE)
        return enlarge(image, progress)

    summary = run(events, good=wait_and_enlarge, bad=lose)
    assert names(summary.done) == names(events, FileDone) == saved
    assert not summary.failed
    (lost,) = [event for event in events if isinstance(event, DeviceLost)]
    assert (lost.device, lost.reason) == ("bad", LOST.splitlines()[0])
    started = [event for event in events if isinstance(event, FileStarted)]
    assert [e.device for e in started if e.job == lost.job] == ["bad", "good"]
    assert [e.device for e in started].count("bad") == 1


def test_a_device_without_work_takes_over_the_last_file():
    saved = save(2)
    events = Recorder(lambda event: isinstance(event, TileDone) and event.done == 1)

    def lose_late(*_):
        assert events.flag.wait(PATIENCE)
        raise RuntimeError(LOST)

    barrier = threading.Barrier(2)

    def both(then):
        def restore(image, progress, *_):
            if not events.flag.is_set():
                barrier.wait(PATIENCE)
            return then(image, progress)

        return restore

    summary = run(events, good=both(enlarge), bad=both(lose_late))
    assert names(summary.done) == saved
    assert len(names(events, DeviceLost)) == 1


def test_an_image_costs_two_devices_at_most():
    saved = save(5)

    def restore(image, progress, *_):
        return lose() if index_of(image) == 0 else enlarge(image, progress)

    events = []
    summary = run(events.append, one=restore, two=restore, three=restore)
    assert names(summary.done) == saved[1:]
    (failed,) = summary.failed
    lost = [event for event in events if isinstance(event, DeviceLost)]
    assert [event.job.source.name for event in lost] == [saved[0]] * 2
    assert failed.error.message == (
        f"in/00.png was not restored: {lost[1].device} failed: {LOST.splitlines()[0]}"
    )
    assert "--resume" in failed.error.hint


@pytest.mark.parametrize("devices", [["one"], ["one", "two"]])
def test_without_devices_the_rest_fails_and_says_so(devices):
    saved = save(5)
    run(one=enlarge)
    for name in saved[2:]:
        Path("out", name).unlink()
    summary = run(**dict.fromkeys(devices, lose), options={"resume": True})
    assert names(summary.skipped) == saved[:2]
    assert names(summary.failed) == saved[2:]
    assert summary.failed
    messages = [failed.error.message for failed in summary.failed]
    assert f"failed: {LOST.splitlines()[0]}" in "".join(messages)
    assert messages[-1] == "in/04.png was not restored: no device is left"
    assert sorted(contents("out")) == saved[:2]


def test_notes_of_the_engine_are_passed_on():
    saved = save(2)
    events = []

    def restore(image, progress, notice):
        notice(f"running image {index_of(image)}")
        return enlarge(image, progress)

    run(events.append, one=restore)
    noted = [event for event in events if isinstance(event, FileNoted)]
    assert [(e.job.source.name, e.text) for e in noted] == [
        (saved[0], "running image 0"),
        (saved[1], "running image 1"),
    ]


def test_short_memory_costs_no_device():
    saved = save(3)

    def restore(image, progress, *_):
        if index_of(image) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return enlarge(image, progress)

    summary = run(one=restore)
    assert names(summary.done) == [saved[0], saved[2]]
    assert "in/01.png is too large" in summary.failed[0].error.message


def broken(*_, **__):
    raise TypeError("a bug")


def frames(error):
    return [frame.name for frame in traceback.extract_tb(error.value.__traceback__)]


@pytest.mark.parametrize("where", PLACES)
def test_a_bug_in_a_thread_stops_the_run_and_keeps_its_traceback(monkeypatch, where):
    save(8)
    monkeypatch.setattr(*where, broken)
    with pytest.raises(TypeError, match="a bug") as error:
        run(one=enlarge)
    assert frames(error)[-1] == "broken"
    assert contents("out") == {}


def test_a_bug_on_one_device_stops_the_others():
    save(8)
    with pytest.raises(TypeError, match="a bug") as error:
        run(one=await_stop, other=broken)
    assert frames(error)[-1] == "broken"


def test_a_bug_on_the_first_device_stops_the_others():
    save(8)
    with pytest.raises(TypeError, match="a bug"):
        run(one=broken, other=await_stop)


def test_a_listener_that_fails_stops_the_run():
    save(8)

    def hang_up(event):
        if isinstance(event, FileDone):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(hang_up, one=enlarge)


def test_an_interrupt_finishes_what_is_being_written_and_tells_it(monkeypatch):
    saved = save(6)
    write_images = stages.write_images
    writing, interrupted = threading.Semaphore(0), threading.Event()

    def write(*arguments, **options):
        writing.release()
        assert interrupted.wait(PATIENCE)
        write_images(*arguments, **options)

    def restore(image, progress, *_):
        if index_of(image) == 3:
            for _ in range(2):
                assert writing.acquire(timeout=PATIENCE)
            interrupted.set()
            raise KeyboardInterrupt
        return enlarge(image, progress)

    monkeypatch.setattr(stages, "write_images", write)
    events = []
    with pytest.raises(KeyboardInterrupt):
        run(events.append, one=restore, options={"io_threads": 2})
    told = names(events, FileDone)
    assert told[:2] == saved[:2]
    assert sorted(contents("out")) == told
    assert not list(Path("out").glob(".mambair-*.tmp"))
    assert names(run(one=enlarge, options={"resume": True}).skipped) == told


def test_finished_files_are_told_although_an_earlier_one_never_ends():
    save(2)
    events = Recorder(lambda event: isinstance(event, TileDone) and event.done == 1)

    def restore(image, progress, *_):
        if index_of(image) == 1:
            return enlarge(image, progress)
        assert events.flag.wait(PATIENCE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(events, one=restore, other=restore)
    assert names(events, FileDone) == sorted(contents("out"))
    assert not names(events, FileFailed)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_stops_all_devices_at_their_next_tile():
    save(6)
    holding = threading.Barrier(2)
    main = threading.get_ident()

    def interrupt(image, progress, *_):
        holding.wait(PATIENCE)
        signal.pthread_kill(main, signal.SIGINT)
        await_stop(image, progress)

    def wait_for_signal(image, progress, *_):
        holding.wait(PATIENCE)
        await_stop(image, progress)

    with pytest.raises(KeyboardInterrupt):
        run(one=wait_for_signal, other=interrupt)
    assert contents("out") == {}


def test_two_networks_share_the_cpu_kernels():
    save(4)
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=16, d_state=2, depths=(1,))
    networks = [build_network(config).eval().requires_grad_(requires_grad=False)]
    networks.append(copy.deepcopy(networks[0]))
    for network in networks:
        set_scan_backend(network, "numba")
    spec = ModelSpec("test-sr-x2", "sr", 2, 3)
    barrier = threading.Barrier(2)

    def restorer(network, meet):
        def restore(image, *callbacks):
            meet(PATIENCE)
            return restore_image(network, image, spec, RestoreOptions(), *callbacks)

        return restore

    one, other = (restorer(network, barrier.wait) for network in networks)
    run(one=one, other=other)
    run(one=restorer(networks[0], lambda _: None), output="alone")
    assert contents("out") == contents("alone")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
@pytest.mark.parametrize("method", ["header", "read"])
def test_a_disk_or_memory_that_fails_under_one_input_stops_no_other(monkeypatch, error, method):
    names = save(4)
    real = getattr(InputFile, method)

    def fail(file):
        if file.path.name == names[1]:
            raise error
        return real.fget(file) if method == "header" else real(file)

    monkeypatch.setattr(InputFile, method, property(fail) if method == "header" else fail)
    summary = run(one=enlarge)
    assert len(summary.done) == 3
    assert [failure.job.source.name for failure in summary.failed] == [names[1]]
