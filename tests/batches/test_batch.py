import errno
import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from restoring import one_by_one

from mambair_cli import disk
from mambair_cli.batches import places, stages
from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.events import FileDone, FileFailed, FileSkipped, FileStarted, TileDone
from mambair_cli.batches.jobs import failed_before, plan_jobs
from mambair_cli.batches.manifest import manifest_name
from mambair_cli.batches.record_lines import LinesInFolder
from mambair_cli.batches.stages import FileOptions
from mambair_cli.errors import ImageError, MemoryLimitError, OutputError, UsageError
from mambair_cli.imaging.image import Band

MANIFEST_NAME = manifest_name()

PATIENCE = 30  # seconds that a test waits for another thread before it fails
FILES = FileOptions(scale=2)
RECIPE = {"weights": "0123", "tile": "auto"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def save(name, seed=0, size=(12, 9)):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(Path("in") / name)


def enlarge(image, progress, *_):
    progress(0, 1)
    progress(1, 1)
    return replace(image, pixels=image.pixels.repeat(2, 0).repeat(2, 1))


def never(*_):
    raise AssertionError("nothing should be restored")


def plan(output="out", *, overwrite=False, image_format=None):
    return plan_jobs(
        [Path("in")],
        output=Path(output),
        suffix="",
        format=image_format,
        recursive=True,
        overwrite=overwrite,
    )


def run_all(jobs, restore, tell, *, files=FILES, **options):
    restorers = {"cpu": one_by_one(restore, never)}
    return run_batch(jobs, restorers, tell, files=files, recipe=lambda _: RECIPE, **options)


def run(restore=enlarge, *, overwrite=False, output="out", **options):
    events = []
    jobs = plan(output, overwrite=overwrite)
    summary = run_all(jobs, restore, events.append, **options)
    return summary, events


def outcomes(summary):
    return tuple(
        [event.job.target.name for event in events]
        for events in (summary.done, summary.skipped, summary.failed)
    )


@pytest.mark.usefixtures("folder")
def test_events_tell_the_whole_story():
    save("a.png")
    summary, events = run()
    kinds = [FileStarted, TileDone, TileDone, FileDone]
    assert [type(event) for event in events] == kinds
    started, _, tile, done = events
    assert (started.index, started.total) == (1, 1)
    assert (tile.done, tile.total) == (1, 1)
    assert (done.width, done.height) == (24, 18)
    assert done.bytes == Path("out/a.png").stat().st_size
    assert min(done.timings.read, done.timings.network, done.timings.write) > 0
    assert summary.done == [done]
    assert not summary.failed
    assert Image.open("out/a.png").size == (24, 18)


@pytest.mark.usefixtures("folder")
def test_one_bad_file_never_stops_the_rest():
    save("a.png")
    save("d.png", 1)
    save("f.jpg", 2, size=(90, 70))
    Path("in/b.png").write_bytes(b"")
    Path("in/c.png").write_text("not an image")
    Path("in/e.jpg").write_bytes(Path("in/f.jpg").read_bytes()[:900])
    Path("in/notes.txt").write_text("not even that")
    summary, events = run()
    assert outcomes(summary) == (["a.png", "d.png", "f.jpg"], [], ["b.png", "c.png", "e.jpg"])
    assert all(isinstance(failed.error, ImageError) for failed in summary.failed)
    assert summary.failed
    assert sorted(p.name for p in Path("out").glob("*.*g")) == ["a.png", "d.png", "f.jpg"]
    assert sum(isinstance(event, FileFailed) for event in events) == 3


@pytest.mark.usefixtures("folder")
def test_a_file_that_vanished_fails_alone():
    save("a.png")
    save("b.png")
    jobs = plan()
    Path("in/b.png").unlink()
    summary = run_all(jobs, enlarge, lambda _: None)
    assert outcomes(summary) == (["a.png"], [], ["b.png"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_short_memory_fails_one_file(error):
    save("a.png")
    save("b.png", 1)
    calls = 0

    def restore(image, progress, *_):
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return enlarge(image, progress)

    summary, _ = run(restore)
    assert outcomes(summary) == (["b.png"], [], ["a.png"])
    assert isinstance(summary.failed[0].error, MemoryLimitError)
    assert "in/a.png is too large" in summary.failed[0].error.message


@pytest.mark.usefixtures("folder")
def test_a_bug_is_not_taken_for_a_bad_file():
    save("a.png")

    def restore(*_):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(restore)
    assert not list(Path("out").glob("*.png"))


@pytest.mark.usefixtures("folder")
def test_an_interrupt_passes_and_leaves_nothing_half_written(monkeypatch):
    save("a.png")
    save("b.png", 1)

    take_name = disk._take_name

    def interrupt_the_second(path, target, **options):
        if target.name == "b.png":
            raise KeyboardInterrupt
        return take_name(path, target, **options)

    monkeypatch.setattr(disk, "_take_name", interrupt_the_second)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert sorted(path.name for path in Path("out").iterdir()) == [MANIFEST_NAME, "a.png"]


@pytest.mark.usefixtures("folder")
def test_an_interrupted_run_is_resumed():
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        save(name, index)
    written = threading.Event()
    calls = 0

    def tell(event):
        if isinstance(event, FileDone):
            written.set()

    def interrupt_the_second(image, progress, *_):
        nonlocal calls
        calls += 1
        if calls == 2:
            assert written.wait(PATIENCE)
            raise KeyboardInterrupt
        return enlarge(image, progress)

    with pytest.raises(KeyboardInterrupt):
        run_all(plan(), interrupt_the_second, tell)
    summary, events = run(resume=True)
    assert outcomes(summary) == (["b.png", "c.png"], ["a.png"], [])
    assert events[0] == FileSkipped(summary.skipped[0].job, "done by an earlier run")
    assert [event.index for event in events if isinstance(event, FileStarted)] == [2, 3]
    assert outcomes(run(never, resume=True)[0]) == ([], ["a.png", "b.png", "c.png"], [])


@pytest.mark.usefixtures("folder")
def test_resume_makes_a_file_again_that_was_cut_short():
    save("a.png")
    save("b.png", 1)
    run()
    whole = Path("out/a.png").read_bytes()
    Path("out/a.png").write_bytes(whole[:-20])
    summary, _ = run(resume=True)
    assert outcomes(summary) == (["a.png"], ["b.png"], [])
    assert Path("out/a.png").read_bytes() == whole


@pytest.mark.usefixtures("folder")
def test_resume_makes_a_file_again_whose_input_changed():
    save("a.png")
    save("b.png", 1)
    run()
    save("b.png", 2)
    assert outcomes(run(resume=True)[0]) == (["b.png"], ["a.png"], [])


@pytest.mark.usefixtures("folder")
def test_resume_makes_everything_again_with_other_weights(monkeypatch):
    save("a.png")
    save("b.png", 1)
    run()
    monkeypatch.setitem(RECIPE, "weights", "4567")
    assert outcomes(run(resume=True)[0]) == (["a.png", "b.png"], [], [])


@pytest.mark.usefixtures("folder")
def test_resume_does_not_touch_a_file_that_it_did_not_make():
    save("a.png")
    save("b.png", 1)
    Path("out").mkdir()
    Path("out/a.png").write_text("precious")
    summary, _ = run(resume=True)
    assert outcomes(summary) == (["b.png"], [], ["a.png"])
    assert Path("out/a.png").read_text() == "precious"


@pytest.mark.usefixtures("folder")
def test_existing_outputs_fail_unless_they_may_be_overwritten():
    save("a.png")
    save("b.png", 1)
    Path("out").mkdir()
    Path("out/a.png").write_text("precious")
    summary, events = run()
    assert outcomes(summary) == (["b.png"], [], ["a.png"])
    assert isinstance(events[0], FileFailed)
    assert Path("out/a.png").read_text() == "precious"
    assert outcomes(run(overwrite=True)[0]) == (["a.png", "b.png"], [], [])


def appearing(name, content):
    """Restores; while it does, somebody else puts a file in the place of a result."""

    def restore(image, progress, *_):
        Path("out", name).write_bytes(content)
        return enlarge(image, progress)

    return restore


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("options", [{}, {"resume": True}])
def test_a_file_that_appears_during_the_run_is_not_replaced(options):
    save("a.png")
    summary, _ = run(appearing("a.png", b"precious"), **options)
    (failed,) = summary.failed
    assert isinstance(failed.error, OutputError)
    assert failed.error.message == f"{Path('out', 'a.png')} exists already"
    assert "--overwrite" in failed.error.hint
    assert Path("out/a.png").read_bytes() == b"precious"
    summary, _ = run(enlarge, resume=True)
    assert outcomes(summary) == ([], [], ["a.png"])
    assert Path("out/a.png").read_bytes() == b"precious"


@pytest.mark.usefixtures("folder")
def test_a_file_that_appears_is_replaced_where_that_is_wanted():
    save("a.png")
    summary, _ = run(appearing("a.png", b"worthless"), overwrite=True)
    assert outcomes(summary) == (["a.png"], [], [])
    assert Image.open("out/a.png").size == (24, 18)


@pytest.mark.usefixtures("folder")
def test_two_runs_that_make_the_same_files_do_no_harm():
    save("a.png")
    run()
    made = Path("out/a.png").read_bytes()
    Path("out/a.png").unlink()
    summary, _ = run(appearing("a.png", made))
    assert outcomes(summary) == (["a.png"], [], [])


@pytest.mark.usefixtures("folder")
def test_a_tree_has_one_record():
    Path("in/sub").mkdir()
    save("a.png")
    save("sub/b.png")
    run()
    assert [str(path) for path in Path("out").rglob(MANIFEST_NAME)] == [f"out/{MANIFEST_NAME}"]
    assert outcomes(run(never, resume=True)[0]) == ([], ["a.png", "b.png"], [])


@pytest.mark.usefixtures("folder")
def test_one_file_leaves_no_record_unless_asked_to_resume():
    save("a.png")
    run()
    assert not Path("out", MANIFEST_NAME).exists()
    run(resume=True, overwrite=True)
    assert outcomes(run(never, resume=True)[0]) == ([], ["a.png"], [])


@pytest.mark.usefixtures("folder")
def test_an_output_directory_that_cannot_be_made_fails_before_the_work():
    save("a.png")
    Path("file").write_text("in the way")
    summary, _ = run(never, output="file/out")
    error = summary.failed[0].error
    assert isinstance(error, OutputError)
    assert error.message == "file/out cannot be made: Not a directory"
    assert "-o" in error.hint


@pytest.mark.usefixtures("folder")
def test_an_output_directory_without_permission_fails_before_the_work(monkeypatch):
    save("a.png")
    monkeypatch.setattr(places.os, "access", lambda *_: False)
    summary, _ = run(never)
    assert summary.failed[0].error.message == "out cannot be written to"


@pytest.mark.usefixtures("folder")
def test_quality_reaches_the_writer():
    save("a.jpg", size=(120, 90))
    run(files=replace(FILES, quality=98))
    best = Path("out/a.jpg").stat().st_size
    run(files=replace(FILES, quality=30), overwrite=True)
    assert Path("out/a.jpg").stat().st_size < best


@pytest.mark.usefixtures("folder")
def test_images_do_not_pile_up_over_a_batch():
    for index in range(12):
        save(f"{index:02}.png", index)
    alive, most = weakref.WeakSet(), 0

    def restore(image, progress, *_):
        nonlocal most
        restored = enlarge(image, progress)
        alive.update([image, restored])
        gc.collect(0)
        most = max(most, len(alive))
        return restored

    summary, _ = run(restore)
    assert len(summary.done) == 12
    assert most <= 4
    assert not alive


def in_bands(reader, look, progress, notice):
    header = reader.header
    progress(0, header.height)
    notice(f"in bands, {look().header.height} rows")

    def bands():
        for row in range(header.height):
            pixels = reader.read(row, row + 1).pixels
            progress(row + 1, header.height)
            yield Band(pixels.repeat(2, 0).repeat(2, 1))

    return replace(header, width=2 * header.width, height=2 * header.height), bands()


def run_short_of_memory(**options):
    events = []
    restorers = {"cpu": one_by_one(never, in_bands)}
    files = replace(FILES, max_memory=1)
    options = {"recipe": lambda _: RECIPE, **options}
    return run_batch(plan(), restorers, events.append, files=files, **options), events


@pytest.mark.usefixtures("folder")
def test_what_is_left_alone_is_copied_in_bands_too_or_converted():
    save("a.png")
    Path("in/a.png").write_bytes(Path("in/a.png").read_bytes() + b"and more")
    files = replace(FILES, max_memory=1)
    restorers = {"cpu": one_by_one(never, lambda *_: None)}
    for target, image_format in (("same", None), ("tiff", "tif")):
        jobs = plan(output=target, image_format=image_format)
        summary = run_batch(jobs, restorers, lambda _: None, files=files)
        assert [done.left_alone for done in summary.done] == [True]
    assert Path("same/a.png").read_bytes() == Path("in/a.png").read_bytes()
    pixels = [np.asarray(Image.open(path)) for path in ("in/a.png", "tiff/a.tif")]
    assert np.array_equal(*pixels)


@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_in_memory_passes_in_bands():
    save("a.png")
    save("b.png", 1)
    summary, events = run_short_of_memory()
    assert outcomes(summary) == (["a.png", "b.png"], [], [])
    in_memory, _ = run(output="whole")
    for name in ("a.png", "b.png"):
        with Image.open(f"out/{name}") as one, Image.open(f"whole/{name}") as other:
            assert np.array_equal(one, other)
    assert [event.done for event in events if isinstance(event, TileDone)] == [*range(10)] * 2
    for one, other in zip(summary.done, in_memory.done, strict=True):
        assert (one.width, one.height, one.images) == (other.width, other.height, other.images)
        assert min(one.timings.read, one.timings.network, one.timings.write) > 0
    assert outcomes(run_short_of_memory(resume=True)[0]) == ([], ["a.png", "b.png"], [])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "target", "message", "hint"),
    [
        ("a.webp", ".webp", "its format cannot be read in bands", "convert it to PNG or TIFF"),
        ("a.png", ".jpg", ".jpg files cannot be written in bands", "write PNG or TIFF instead"),
    ],
)
def test_what_cannot_pass_in_bands_fails_with_a_way_out(name, target, message, hint):
    save(name)
    job = replace(plan()[0], target=Path("out", f"a{target}"))
    restorers = {"cpu": one_by_one(never, never)}
    files = replace(FILES, max_memory=1)
    summary = run_batch([job], restorers, lambda _: None, files=files)
    (failed,) = summary.failed
    assert isinstance(failed.error, MemoryLimitError)
    assert message in failed.error.message
    assert failed.error.hint.startswith(hint)


@pytest.mark.usefixtures("folder")
def test_several_images_for_a_format_of_one_are_refused_before_the_network():
    frames = [Image.new("RGB", (12, 9), (shade, 0, 0)) for shade in (0, 90)]
    frames[0].save("in/a.gif", save_all=True, append_images=frames[1:])
    job = replace(plan()[0], target=Path("out/a.jpg"))
    summary = run_batch([job], {"cpu": one_by_one(never, never)}, lambda _: None, files=FILES)
    (failed,) = summary.failed
    assert isinstance(failed.error, OutputError)
    assert failed.error.message == (
        "cannot write out/a.jpg: JPEG holds one image, the source has 2"
    )
    assert "--format png" in failed.error.hint


@pytest.mark.usefixtures("folder")
def test_a_full_disk_fails_one_file_and_says_what_helps(monkeypatch):
    save("a.png")
    save("b.png", 1)
    write_images = stages.write_images

    def fill(path, *arguments, **options):
        if path.name == "a.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_images(path, *arguments, **options)

    monkeypatch.setattr(stages, "write_images", fill)
    summary, _ = run()
    assert outcomes(summary) == (["b.png"], [], ["a.png"])
    error = summary.failed[0].error
    assert error.message == "cannot write out/a.png: No space left on device"
    assert "free some disk space" in error.hint
    record = Path("out", MANIFEST_NAME).read_text().splitlines()
    assert sum('"failed"' in line for line in record) == 1


@pytest.mark.usefixtures("folder")
def test_a_file_that_failed_does_not_make_what_is_put_there_ours():
    save("a.png")
    save("b.png")
    Path("in/a.png").write_bytes(b"")
    run()
    Path("out/a.png").write_text("somebody else's")
    save("a.png")
    summary, _ = run(resume=True)
    assert outcomes(summary) == ([], ["b.png"], ["a.png"])
    assert Path("out/a.png").read_text() == "somebody else's"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("room", [0, 1, 2, 5], ids="{} lines of room".format)
def test_what_failed_on_a_full_disk_is_known_though_its_record_is_full_too(monkeypatch, room):
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        save(name, index)
    lines = []
    append = LinesInFolder.append

    def append_while_there_is_room(self, line, **options):
        if len(lines) >= room:
            raise OutputError("no space")
        lines.append(line)
        append(self, line, **options)

    with monkeypatch.context() as full:
        full.setattr(LinesInFolder, "append", append_while_there_is_room)
        summary, _ = run()
    done, _, failed = outcomes(summary)
    assert sorted(done + failed) == ["a.png", "b.png", "c.png"]
    assert len(done) == max(0, (room - 1) // 2)
    save("new.png", 9)
    if room == 0:
        with pytest.raises(UsageError, match="no record of an earlier run"):
            failed_before(plan(overwrite=True))
        return
    again = failed_before(plan(overwrite=True))
    assert [job.target.name for job in again] == failed
    run_all(again, enlarge, [].append, resume=True)
    assert failed_before(plan(overwrite=True)) == []
