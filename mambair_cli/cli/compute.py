"""What a command needs before it computes: a device and compiled kernels."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, counted, duration
from mambair_cli.restoration.memory.allocator import keep_freed_memory

if TYPE_CHECKING:
    import torch

    from mambair_cli.api import Model

# Loading cached kernels takes less than this, compiling them takes more.
COMPILE_SECONDS = 3.0
# Height and width of what a network restores to have its kernels compiled.
SMALL_IMAGE = (48, 64)
# Files that are read, and that are written, at the same time for each GPU.
FILES_PER_DEVICE = 8


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as `cpu (8 threads)` or `cuda:0 (NVIDIA A100)`."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({counted(torch.get_num_threads(), 'thread')})"
    return str(device)


def io_threads(devices: Sequence[torch.device]) -> int:
    """How many files to read, and how many to write, while networks run on the devices.

    On a CPU the network needs all processors itself: threads beside it made a batch slower. A GPU
    makes a result faster than one processor packs it into a PNG.
    """
    if all(device.type == "cpu" for device in devices):
        return 0
    allowed = getattr(os, "sched_getaffinity", None)
    processors = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
    return min(processors, FILES_PER_DEVICE * len(devices))


def prepare_scan(
    requested: str, device: torch.device, messages: Messages, *, training: bool = False
) -> str:
    """Choose the scan backend and have a CPU's kernels compiled, saying so when it takes long.

    A GPU's are compiled for each network: see `prepare_network`.

    Args:
        requested: What `--scan` was given.
        device: Where the network will run.
        messages: Where the waiting is shown.
        training: Whether the backward pass will be needed.

    Returns:
        The backend's name.

    Raises:
        BackendError: The backend cannot run here.
    """
    from mambair_cli.kernels.scan import dispatch
    from mambair_cli.networks import prepare_kernels

    name = dispatch.select(requested, device).name
    if device.type == "cpu":
        keep_freed_memory()
        _compile(f"{name} kernels", lambda: prepare_kernels(name, training=training), messages)
    return name


def prepare_network(model: Model, messages: Messages) -> None:
    """Have a GPU's kernels compiled for a network, saying so when it takes long.

    They are made for its numbers of channels and its precision, so it restores a small image, large
    enough to be scanned in chunks. On a CPU nothing is left to do after `prepare_scan`.

    Args:
        model: On its device.
        messages: Where the waiting is shown.

    Raises:
        BackendError: The kernels cannot be compiled or run.
    """
    import torch

    from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

    def run() -> float:
        start = time.perf_counter()
        black = torch.zeros(1, model.spec.channels, *SMALL_IMAGE)
        options = RestoreOptions(tile=0, precision=model.precision)
        restore_tensor(model.network, black, model.spec, options)
        return time.perf_counter() - start

    if model.device.type != "cpu":
        _compile(f"{model.scan} kernels for {model.spec.id}", run, messages)


def _compile(what: str, run: Callable[[], float], messages: Messages) -> None:
    """Compile something by running it; `run` returns the seconds that it took."""
    text = f"compiling the {what}, once for this machine ..."
    notice = threading.Timer(COMPILE_SECONDS, messages.notice, [text])
    if not messages.animated:
        notice.start()
    try:
        with messages.waiting(text):
            seconds = run()
    finally:
        notice.cancel()
    if seconds > COMPILE_SECONDS:
        messages.notice(f"compiled the {what} in {duration(seconds)} (cached for later runs)")
