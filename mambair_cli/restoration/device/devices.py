"""Which devices networks run on: those that were asked for, or the best one that is here."""

from __future__ import annotations

import torch

from mambair_cli.errors import BackendError, UsageError

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps", "xpu", "xpu:N")
_KINDS = ("cpu", "cuda", "mps", "xpu")


def resolve_device(requested: str) -> torch.device:
    """Find the device that was asked for; one that is missing is an error, never a silent CPU run.

    Args:
        requested: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`, `xpu` or `xpu:N`; `auto` prefers CUDA,
            then XPU, then MPS. AMD's GPUs are `cuda` to torch.

    Returns:
        The device; `cuda` or `xpu` without a number is the current one.

    Raises:
        UsageError: The name is not one of those.
        BackendError: The device is not here.
    """
    if requested == "auto":
        return torch.device(_best_device_type())
    kind, _, index = requested.partition(":")
    if kind not in _KINDS or (":" in requested and not index.isdecimal()):
        raise UsageError(f"unknown device {requested!r}", "choose one of: " + ", ".join(DEVICES))
    if reason := _absence(kind, int(index or 0)):
        raise BackendError(
            f"device {requested!r} is not available: {reason}",
            "use --device auto or --device cpu, or see what was found with: mambair doctor",
        )
    return torch.device(kind, int(index)) if index else torch.device(kind)


def resolve_devices(requested: str) -> list[torch.device]:
    """Find the devices that share a directory of images.

    Args:
        requested: As for `resolve_device`, or several GPUs of one kind, each with its number,
            separated by commas: `cuda:0,cuda:1`.

    Returns:
        The devices in the order given, at least one.

    Raises:
        UsageError: A name is unknown, given twice or without a number, or the kinds differ.
        BackendError: A device is not here.
    """
    names = [name.strip() for name in requested.split(",")]
    if len(names) == 1:
        return [resolve_device(requested)]
    example = "several devices are given as --device cuda:0,cuda:1"
    for name in names:
        if name in ("auto", *_KINDS):
            raise UsageError(f"{name!r} in devices {requested!r} has no number", example)
    devices = [resolve_device(name) for name in names]
    if len({device.type for device in devices}) > 1:
        raise UsageError(f"devices {requested!r} are of several kinds", example)
    if repeated := next((device for device in devices if devices.count(device) > 1), None):
        raise UsageError(f"device '{repeated}' is given twice in {requested!r}", example)
    return devices


def _best_device_type() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.xpu.is_available():
        return "xpu"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _absence(kind: str, index: int) -> str | None:
    if kind in ("cuda", "xpu"):
        here = torch.get_device_module(kind)
        if not here.is_available():
            return f"torch finds no {kind.upper()} device"
        count = here.device_count()
        return (
            f"there are {count} {kind.upper()} devices, counted from 0" if index >= count else None
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Apple GPU"
    return None
