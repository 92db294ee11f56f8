"""Runs `mambair` in processes of their own that start at once: forked after the slow imports.

As a program it has its own arguments run once, imports what they needed, then reads requests from
standard input, a JSON object a line, and answers each with the process id, and when it is asked to
wait with how that process ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PATIENCE = 120  # seconds
WAIT = "wait\n"
# Libraries with threads of their own, which do not outlive a fork.
NOT_BEFORE_A_FORK = ("pyvips", "_libvips", "__main__")


@dataclass(frozen=True)
class Run:
    """One command line that is being run.

    Attributes:
        pid: Its process.
        folder: Where `out` and `err` get what it prints.
        requests: Where the launcher is asked how it ended.
        answers: Where it tells.
    """

    pid: int
    folder: Path
    requests: IO[str]
    answers: IO[str]

    def wait(self) -> int:
        """The exit status; the negative number of the signal that killed it.

        A process that does not end is killed.
        """
        deadline = threading.Timer(PATIENCE, os.kill, [self.pid, signal.SIGKILL])
        deadline.start()
        self.requests.write(WAIT)
        self.requests.flush()
        status = int(self.answers.readline())
        deadline.cancel()
        return status

    @property
    def out(self) -> str:
        """What it has printed on standard output."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """What it has printed on standard error."""
        return (self.folder / "err").read_text()


class Launcher:
    """Starts command lines, one at a time.

    Args:
        process: This file, run as a program.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def start(self, folder: Path, *arguments: object, before: str = "") -> Run:
        """Starts `mambair` with some arguments.

        Args:
            folder: What it prints is kept there.
            arguments: The words after `mambair`.
            before: Python statements that are run first in the new process.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("out", "err"):
            (folder / name).write_bytes(b"")
        words = [str(argument) for argument in arguments]
        request = {"folder": str(folder), "arguments": words, "before": before}
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        pid = int(self._answers.readline())
        return Run(pid, folder, self._requests, self._answers)


@contextmanager
def launching(*arguments: object) -> Iterator[Launcher]:
    """A launcher whose processes compute in one thread.

    Args:
        arguments: Words after `mambair` that are run beforehand, for what they import.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Another pool is not entered after a fork, and kernels would be compiled for none.
    threads["NUMBA_THREADING_LAYER"] = "workqueue"
    with subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        yield Launcher(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    for name in _needed_modules():
        if not name.startswith(NOT_BEFORE_A_FORK):
            with suppress(ImportError):
                importlib.import_module(name)
    assert threading.active_count() == 1
    # What is not looked at need not be copied by the processes to come.
    gc.collect()
    gc.freeze()
    line = sys.stdin.readline()
    while line:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(Path(request["folder"]), request["arguments"], request["before"])
        _answer(pid)
        # Until it is asked about, the process id is nobody else's.
        line = sys.stdin.readline()
        asked = line == WAIT
        if not asked:
            os.kill(pid, signal.SIGKILL)  # a test failed and left it
        _, status = os.waitpid(pid, 0)
        if asked:
            _answer(os.waitstatus_to_exitcode(status))
            line = sys.stdin.readline()


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _needed_modules() -> list[str]:
    """What the arguments of this program import, found out in a process of its own."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        from mambair_cli.cli.main import run

        os.close(reading)
        with redirect_stdout(sys.stderr):
            status = run(sys.argv[1:])
        with os.fdopen(writing, "w") as file:
            file.write("\n".join(sys.modules))
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        names = file.read().split()
    assert os.wait()[1] == 0
    return names


def _run(folder: Path, arguments: Sequence[str], before: str) -> None:
    from mambair_cli.cli.main import main

    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY)
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # As from a terminal, also where the tests themselves run in the background or under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = ["mambair", *arguments]
    exec(before, {})  # noqa: S102 - the test's own
    main()


if __name__ == "__main__":
    _serve()
