"""Run a batch of files: one bad file never stops the rest, and every file has its own outcome."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from mambair_cli.batches.beside import ALONE, Beside
from mambair_cli.batches.events import Event, OrderedEvents, Summary
from mambair_cli.batches.forecasts import Forecast
from mambair_cli.batches.jobs import Job, on_this_machine
from mambair_cli.batches.manifest import RecipeOf, Shard
from mambair_cli.batches.pipeline import Pipeline
from mambair_cli.batches.stages import FileOptions, Stages
from mambair_cli.batches.work import Restore


def foresee(
    jobs: Sequence[Job],
    files: FileOptions,
    *,
    resume: bool = False,
    recipe: RecipeOf | None = None,
    keep_open: bool = False,
) -> list[Forecast]:
    """Tell what `run_batch` will make of files, from their headers; nothing is written.

    Args:
        jobs: As for `run_batch`.
        files: As for `run_batch`.
        resume: As for `run_batch`; without a recipe it is not known what will be skipped.
        recipe: As for `run_batch`.
        keep_open: Leave the first file open; `run_batch`, given the forecasts, reads and closes it.
    """
    assert on_this_machine(jobs)
    stages = Stages(files, recipe, resume=resume)
    return [stages.foresee(job, keep_open=keep_open and job is jobs[0]) for job in jobs]


def run_batch(
    jobs: Sequence[Job],
    restorers: Mapping[str, Restore],
    on_event: Callable[[Event], None],
    *,
    files: FileOptions,
    resume: bool = False,
    recipe: RecipeOf | None = None,
    shard: Shard | None = None,
    io_threads: int = 1,
    forecasts: Sequence[Forecast] = (),
    beside: Beside = ALONE,
) -> Summary:
    """Restore files on one device or several, reading ahead and writing behind.

    A record of what was done (`manifest.Manifest`) is kept in the output directories when there is
    more than one job, or with `resume` or `shard`. With `resume` a file is skipped if its record
    agrees with the input, the recipe and the bytes of the output; an output of an earlier run that
    does not agree is made again; an output that is in no record is refused as without `resume`.

    A device that fails for good gets no more work. The file that it failed on is tried once more on
    another device; when no device is left, all other files fail.

    Args:
        jobs: From `plan_jobs`, none to do with stores; taken in this order.
        restorers: For each device its name and what restores images on it. The first runs in the
            calling thread, each of the others in one of its own.
        on_event: Told of everything as it happens, from any thread but never from two at once;
            of outcomes in the order of the jobs.
        files: How files are read and written.
        resume: Skip what an earlier run with the same recipe has finished.
        recipe: What the output of an input file depends on beside it: weights' sha256, options,
            version; JSON values only. None: no record is kept.
        shard: The part of a shared batch that this process does, I of N; each has its own record.
        io_threads: How many files are read, and how many written, at the same time; 0 to do both
            between one image and the next, which is right for a network that needs all processors.
        forecasts: From `foresee` for the same jobs and files, so that headers are not read again.
        beside: How files share the only device; events come as if they did not.

    Returns:
        The outcomes. A `KeyboardInterrupt` is not caught: outputs that are being written are
        finished, those that wait are dropped, devices stop at their next tile, then it passes.
    """
    assert on_this_machine(jobs)
    kept = recipe if len(jobs) > 1 or resume or shard else None
    events = OrderedEvents(on_event, in_turn=beside.files > 1)
    stages = Stages(files, kept, resume=resume, shard=shard, forecasts=forecasts, jobs=jobs)
    with warnings.catch_warnings():
        # What `read_image` sets for itself is not kept apart between threads.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with closing(stages):
            Pipeline(jobs, restorers, stages, events, io_threads, beside).run()
    return events.summary
