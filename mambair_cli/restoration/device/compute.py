"""Where and how networks run: device, number format and scan backend, decided once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from mambair_cli.kernels.scan import dispatch
from mambair_cli.kernels.scan.dispatch import Backend
from mambair_cli.restoration.device.devices import resolve_device, resolve_devices
from mambair_cli.restoration.device.precision import (
    Precision,
    PrecisionRequest,
    resolve_precision,
)


@dataclass(frozen=True)
class Compute:
    """Where and how networks run.

    Attributes:
        device: Where.
        precision: Number format of their matrix products, one that the device computes in.
        scan: Backend of the selective scan, one that runs on the device.
    """

    device: torch.device
    precision: Precision
    scan: Backend

    @classmethod
    def resolve(
        cls, device: str = "auto", precision: PrecisionRequest = "auto", scan: str = "auto"
    ) -> Self:
        """Decide what was left open, and check the rest.

        Args:
            device: As for `resolve_device`.
            precision: As for `resolve_precision`.
            scan: `auto` or the name of a backend.

        Raises:
            UsageError: The device or precision is unknown.
            BackendError: The device, precision or backend cannot run here; the message says why.
        """
        return cls._on(resolve_device(device), precision, scan)

    @classmethod
    def resolve_all(cls, devices: str, precision: PrecisionRequest, scan: str) -> list[Self]:
        """Decide for several devices that share the work: what the first one takes, all take.

        Args:
            devices: As for `resolve_devices`.
            precision: As for `resolve`.
            scan: As for `resolve`.

        Raises:
            UsageError: As for `resolve`.
            BackendError: As for `resolve`.
        """
        first, *others = resolve_devices(devices)
        chosen = cls._on(first, precision, scan)
        return [chosen, *(cls._on(each, chosen.precision, chosen.scan.name) for each in others)]

    @classmethod
    def _on(cls, device: torch.device, precision: PrecisionRequest, scan: str) -> Self:
        backend = dispatch.select(scan, device)
        return cls(device, resolve_precision(precision, device), backend)


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as `cpu (8 threads)` or `cuda:0 (NVIDIA A100)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({threads} thread{'' if threads == 1 else 's'})"
    return str(device)
