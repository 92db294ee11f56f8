"""What a command needs before it computes: a device and compiled kernels."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, counted, duration

if TYPE_CHECKING:
    import torch

# Loading cached kernels takes less than this, compiling them takes more.
COMPILE_SECONDS = 3.0


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as `cpu (8 threads)` or `cuda:0 (NVIDIA A100)`."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({counted(torch.get_num_threads(), 'thread')})"
    return str(device)


def prepare_scan(requested: str, device: torch.device, messages: Messages) -> str:
    """Choose the scan backend and have its kernels compiled, saying so when it takes long.

    Args:
        requested: What `--scan` was given.
        device: Where the network will run.
        messages: Where the waiting is shown.

    Returns:
        The backend's name.

    Raises:
        BackendError: The backend cannot run here.
    """
    from mambair_cli.selective_scan import dispatch

    name = dispatch.select(requested, device).name
    text = f"compiling the {name} kernels, once for this machine ..."
    notice = threading.Timer(COMPILE_SECONDS, messages.notice, [text])
    if not messages.animated:
        notice.start()
    try:
        with messages.waiting(text):
            seconds = dispatch.prepare(name)
    finally:
        notice.cancel()
    if seconds > COMPILE_SECONDS:
        messages.notice(
            f"compiled the {name} kernels in {duration(seconds)} (cached for later runs)"
        )
    return name
