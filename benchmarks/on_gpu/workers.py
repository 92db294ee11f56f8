"""Processes that run steps: one for each network, which imports PyTorch once and keeps its device.

A process that crashes, hangs or leaves the device unusable takes no figures of other steps with it:
the next step that needs it gets a new one.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from on_gpu.settings import Settings
    from on_gpu.steps import Step

DONE, FAILED = "done", "failed"
TAIL = 4000  # characters of a step's log that its result keeps
# Triton chooses between compiler and interpreter as kernels are defined.
INTERPRETED = {"operator": {"TRITON_INTERPRET": "1"}}


def serve(
    connection: Connection, settings: Settings, log: Path, environment: dict[str, str]
) -> None:
    """Runs the steps that a connection names, one after the other, in this process."""
    os.setsid()  # what it starts ends with it
    os.environ.update(environment)
    with log.open("ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    import torch

    from on_gpu.steps import run_step

    connection.send(None)
    while step := connection.recv():
        run_step(step, settings)
        gc.collect()  # networks and their graphs
        if settings.on_gpu and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # fails where a kernel has broken the device's context
            torch.cuda.empty_cache()
        sys.stdout.flush()
        connection.send(None)


class _Worker:
    """One process, and how far its log has been read."""

    def __init__(self, settings: Settings, log: Path, environment: dict[str, str]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        log.touch()
        self.log, self.asked, self.ready = log, False, False
        self.read = log.stat().st_size
        self.process = spawn.Process(target=serve, args=(theirs, settings, log, environment))
        self.process.start()
        theirs.close()

    def waits(self, seconds: float) -> bool:
        """Whether an answer came in time; a process that ended gives none."""
        if not self.connection.poll(max(0.0, seconds)):
            raise TimeoutError
        with suppress(EOFError, ConnectionResetError):
            self.connection.recv()
            return True
        return False

    def ask(self, step: Step) -> None:
        """Has a step run as soon as the process is ready."""
        self.asked = True
        with suppress(BrokenPipeError):
            self.connection.send(step)

    def new_log(self) -> str:
        """What it printed since it was last asked."""
        with self.log.open("rb") as file:
            file.seek(self.read)
            text = file.read()
        self.read += len(text)
        return text.decode(errors="replace")

    def stop(self) -> None:
        """Ends it and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


class Workers:
    """Runs steps in processes; see `schedule.Performer`.

    Args:
        settings: For every step.
        log: Takes what all steps print.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings, self._log = settings, log
        self._running: dict[str, _Worker] = {}
        log.write_text("")

    def start(self, name: str) -> _Worker:
        """Starts a process unless it runs: it imports PyTorch while others work."""
        if name not in self._running:
            environment = {} if self._settings.on_gpu else INTERPRETED.get(name, {})
            log = self._settings.folder / f"{name}.log"
            self._running[name] = _Worker(self._settings, log, environment)
        return self._running[name]

    def begin(self, step: Step) -> None:
        """Starts a step and does not wait for it."""
        self.start(step.runs_in).ask(step)

    def finish(self, step: Step, seconds: float) -> dict[str, Any]:
        """Waits for a step at most so long, and collects what it wrote."""
        started = time.monotonic()
        worker = self.start(step.runs_in)
        if not worker.asked:
            worker.ask(step)
        outcome: dict[str, Any] = {"outcome": DONE}
        try:
            worker.ready = worker.ready or worker.waits(seconds)
            answered = worker.ready and worker.waits(seconds - (time.monotonic() - started))
        except TimeoutError:
            answered, outcome = (
                False,
                {"outcome": FAILED, "error": f"stopped after {seconds:.0f} s"},
            )
        worker.asked = False
        if not answered:
            del self._running[step.runs_in]
            worker.stop()
        log = worker.new_log()
        if not answered and outcome["outcome"] == DONE:
            outcome = {"outcome": FAILED, "error": _last_line(log, worker.process.exitcode)}
        with self._log.open("a") as file:
            file.write(f"== {step.name}: {outcome['outcome']}\n{log}\n")
        written = self._settings.folder / f"{step.name}.json"
        figures = json.loads(written.read_text()) if written.exists() else {}
        took = round(time.monotonic() - started, 1)
        return outcome | {"took_s": took, "figures": figures, "log": log[-TAIL:]}

    def stop(self) -> None:
        """Ends all processes."""
        for worker in self._running.values():
            worker.stop()
        self._running.clear()


def _last_line(log: str, status: int | None) -> str:
    lines = log.strip().splitlines() or [f"exit status {status}"]
    return lines[-1][:400]
