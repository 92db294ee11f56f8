"""Ctrl-C and its like: the first ends the work in good order, the second ends it at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None

# SIGHUP comes when a terminal closes, SIGTERM from job schedulers and containers.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# Programs that start others often pass on what the terminal has sent to all of them already.
SAME_SECONDS = 0.3
# The network stops at its next tile, and a file that is being written is finished first.
NOTICE_SECONDS = 1.0
NOTICE = "stopping in good order; once more stops at once"
SHOW_CURSOR = "\x1b[?25h"
STANDARD_ERROR = 2


def install(stop_at_once: Callable[[], None]) -> None:
    """Has the first signal raise `KeyboardInterrupt` in this thread.

    Signals that the process was started to ignore, as `nohup` does, stay ignored.

    Args:
        stop_at_once: Ends the process. Called for the second signal, in another thread: this one
            may be anywhere.
    """
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    receiving, sending = os.pipe()
    if os.name == "posix":
        os.set_blocking(sending, False)
    signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receiving, taken, stop_at_once), daemon=True)
    watcher.name = "mambair-signals"
    watcher.start()
    raise_once = _RaiseOnce()
    before = {number: signal.signal(number, raise_once) for number in taken}
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _restore(before))


def say(text: str) -> None:
    """Write a line to standard error past Python's streams: another thread may hold their locks."""
    # Bars may have hidden the cursor.
    cursor = SHOW_CURSOR if os.isatty(STANDARD_ERROR) else ""
    with contextlib.suppress(OSError):  # it may be full, or closed
        os.write(STANDARD_ERROR, f"{cursor}{text}\n".encode())


def resume_command(arguments: Sequence[str], *, resumes: bool) -> str:
    """Write the command that goes on with this one, for the shell.

    Args:
        arguments: The words after `mambair`.
        resumes: Whether `--resume` is among them.
    """
    command, *rest = arguments
    option = [] if resumes else ["--resume"]
    words = [*_program(), command, *option, *rest]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _restore(handlers: Mapping[int, Handler]) -> None:
    # What is sent to a process that this one forked is nothing that happened to this one.
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class _RaiseOnce:
    """Handles a signal; what is done after the first must not be broken off by another."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt


def _watch(receiving: int, taken: Sequence[int], stop_at_once: Callable[[], None]) -> None:
    """Wait for the second signal; the bytes that arrive are the numbers of signals."""

    def wait_for_signal() -> int:
        while True:
            for number in os.read(receiving, 64):
                if number in taken:
                    return number

    number, first = wait_for_signal(), time.monotonic()
    # The system may have given it to any thread, but only the main one is to be woken by it.
    if hasattr(signal, "pthread_kill") and (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, number)
    notice = threading.Timer(NOTICE_SECONDS, say, [NOTICE])
    notice.daemon = True
    notice.start()
    while wait_for_signal() and time.monotonic() - first < SAME_SECONDS:
        pass
    stop_at_once()


def _program() -> list[str]:
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return [sys.executable, "-m", "mambair_cli"]
    found = shutil.which(script.name)
    if found is not None and script.exists() and Path(found).samefile(script):
        return [script.name]
    return [str(script)]
