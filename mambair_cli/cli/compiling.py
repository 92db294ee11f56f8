"""What is said while kernels are compiled before a command computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, duration
from mambair_cli.cli.garbage import end_start

if TYPE_CHECKING:
    import torch

    from mambair_cli.batches.models import Model
    from mambair_cli.kernels.scan.dispatch import Backend
    from mambair_cli.restoration.device.precision import Precision

# Loading cached kernels takes less than this, compiling them takes more.
COMPILE_SECONDS = 3.0


def load_kernels(device: str, scan: str, messages: Messages) -> None:
    """Have kernels loaded or compiled before a backend is chosen: see whether they run.

    Args:
        device: As for `resolve_devices`.
        scan: `auto` or the name of a backend.
        messages: Where the waiting is shown, and why `auto` has to take a slower backend.

    Raises:
        MambairError: There is no such device.
    """
    from mambair_cli.kernels.scan.dispatch import NUMBA, TRITON
    from mambair_cli.kernels.triton_launch import GPUS
    from mambair_cli.restoration.device.devices import resolve_devices

    first = resolve_devices(device)[0]
    fastest = {"cpu": NUMBA} | dict.fromkeys(GPUS, TRITON)
    backend = fastest.get(first.type)
    if backend is None or scan not in ("auto", backend.name):
        return

    def load() -> float:
        start = time.perf_counter()
        backend.refuses(first)
        return time.perf_counter() - start

    _compile(f"{backend.name} kernels", load, messages, kept_by_numba=backend is NUMBA)
    if scan == "auto" and (reason := backend.refuses(first)):
        slower = "warning: the fast kernels cannot run here, and the scan is slower without: "
        messages.notice(f"{slower}{reason}", "yellow")


def prepare_scan(
    scan: Backend,
    device: torch.device,
    messages: Messages,
    *,
    precision: Precision = "fp32",
    training: bool = False,
) -> None:
    """Have a CPU's kernels compiled, saying so when it takes long.

    A GPU's are compiled for each network: see `prepare_network`.

    Args:
        scan: The backend that will run.
        device: Where the network will run.
        messages: Where the waiting is shown.
        precision: What the network will compute in.
        training: Whether the backward pass will be needed.
    """
    from mambair_cli.restoration.device.scan_backend import prepare_kernels
    from mambair_cli.restoration.memory.allocator import keep_freed_memory

    end_start()
    if device.type == "cpu":
        keep_freed_memory()
        _compile(
            f"{scan.name} kernels",
            lambda: prepare_kernels(scan, precision=precision, training=training),
            messages,
            kept_by_numba=True,
        )


def prepare_network(model: Model, messages: Messages) -> None:
    """Have a GPU's kernels compiled for a network, saying so when it takes long.

    On a CPU nothing is left to do after `prepare_scan`.

    Args:
        model: On its device.
        messages: Where the waiting is shown.

    Raises:
        BackendError: The kernels cannot be compiled or run.
    """
    if model.device.type != "cpu":
        what = f"{model.scan} kernels for {model.spec.id}"
        _compile(what, model.compile_kernels, messages, kept_by_numba=False)


def _compile(
    what: str, run: Callable[[], float], messages: Messages, *, kept_by_numba: bool
) -> None:
    """Compile something by running it; `run` returns the seconds that it took."""
    text = f"compiling the {what}, once for this machine ..."
    notice = threading.Timer(COMPILE_SECONDS, messages.notice, [text])
    if not messages.animated:
        notice.start()
    try:
        with messages.waiting(text) as tell, _told_of_kernels(tell):
            seconds = run()
    finally:
        notice.cancel()
    if seconds > COMPILE_SECONDS:
        lost = _why_not_kept() if kept_by_numba else None
        kept = "cached for later runs" if lost is None else f"for this run alone; {lost}"
        messages.notice(f"compiled the {what} in {duration(seconds)} ({kept})")


@contextmanager
def _told_of_kernels(tell: Callable[[str], None]) -> Iterator[None]:
    """Have somebody told the name of each CPU kernel that is compiled."""
    try:
        from mambair_cli.kernels.numba_kernel import on_compiling
    except (ImportError, OSError):
        yield
        return
    on_compiling.append(tell)
    try:
        yield
    finally:
        on_compiling.remove(tell)


def _why_not_kept() -> str | None:
    try:
        from mambair_cli.kernels import numba_cache
    except (ImportError, OSError):
        return None
    return numba_cache.why_not_kept()
