"""Ctrl-C and its like: the first ends the work in good order, the second ends it at once."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None

EXIT_STATUS = 130
# SIGHUP comes when a terminal closes, SIGTERM from job schedulers and containers.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# Programs that start others often pass on what the terminal has sent to all of them already.
SAME_SECONDS = 0.3
# The network stops at the next tile, and a file that is being written is finished.
NOTICE_SECONDS = 1.0
SHOW_CURSOR = b"\x1b[?25h"


def install() -> None:
    """Has the first signal raise `KeyboardInterrupt` in this thread, the second end the process.

    The second one works whatever this thread is doing, because another one waits for it. Signals
    that the process was started to ignore, as `nohup` does, stay ignored.
    """
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    sending, receiving = socket.socketpair()
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.detach(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receiving, taken), daemon=True)
    watcher.name = "mambair-signals"
    watcher.start()
    raise_once = _RaiseOnce()
    before = {number: signal.signal(number, raise_once) for number in taken}
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _restore(before))


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


def _watch(signals: socket.socket, taken: Sequence[int]) -> None:
    """Waits for the second signal; the bytes that arrive are the numbers of signals."""

    def arrived() -> bool:
        return any(number in taken for number in signals.recv(64))

    while not arrived():
        pass
    first = time.monotonic()
    signals.settimeout(NOTICE_SECONDS)
    while True:
        try:
            again = arrived() and time.monotonic() - first > SAME_SECONDS
        except TimeoutError:
            signals.settimeout(None)
            _say(b"stopping in good order; once more stops at once\n")
            continue
        if again:
            # Bars may have hidden the cursor, and nobody is left to show it.
            _say((SHOW_CURSOR if os.isatty(2) else b"") + b"error: stopped at once\n")
            os._exit(EXIT_STATUS)


def _say(text: bytes) -> None:
    # Not through Python's streams: the main thread may hold their locks.
    os.write(2, text)


def _program() -> list[str]:
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return [sys.executable, "-m", "mambair_cli"]
    found = shutil.which(script.name)
    if found is not None and script.exists() and Path(found).samefile(script):
        return [script.name]
    return [str(script)]
