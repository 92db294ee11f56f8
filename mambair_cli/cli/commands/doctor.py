"""`mambair doctor`: what was found, which scan backend runs, and why others refuse."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from mambair_cli.cli.console import print_json, print_table
from mambair_cli.cli.options import Debug, Json
from mambair_cli.cli.preferences import Preference, file_path
from mambair_cli.errors import MambairError
from mambair_cli.restoration.device.hardware import (
    GIB,
    Device,
    found_devices,
    torch_platform,
    usable_processors,
)

if TYPE_CHECKING:
    import torch

PACKAGES = ("mambair", "torch", "numba", "numpy", "pillow", "safetensors", "huggingface-hub")
KERNEL_PACKAGES = ("triton", "mamba-ssm", "causal-conv1d")
OK = "ok"


@dataclass
class Report:
    """What was found.

    Attributes:
        versions: Package name to version, or to why it is missing.
        cpu: Processor, its vector instructions, its threads.
        memory_available: Bytes that can be allocated now, container limits included.
        torch_platform: What torch was built for.
        devices: Device to what it is and can do.
        scan: Scan backend to device to the reason why it refuses, or None.
        weights: Bundled file to `ok`, or to what is wrong with it.
        caches: What is kept between runs, and where.
        preferences_file: Where one is looked for; empty where none is wanted.
        preferences: What holds where the command line says nothing else.
        problems: Why nothing can run.
    """

    versions: dict[str, str]
    cpu: dict[str, str | int] = field(default_factory=dict)
    memory_available: int = 0
    torch_platform: str = ""
    devices: dict[str, Device] = field(default_factory=dict)
    scan: dict[str, dict[str, str | None]] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)
    preferences_file: str = ""
    preferences: list[Preference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def can_restore(self) -> bool:
        """Whether any scan backend runs on any device."""
        return any(None in refusals.values() for refusals in self.scan.values())


def doctor(
    context: typer.Context,
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> int:
    """Say what was found: versions, devices, memory, scan backends, weights, preferences."""
    report = examine()
    report.preferences_file = str(file_path() or "")
    report.preferences = context.obj.preferences
    if json:
        print_json({**dataclasses.asdict(report), "can_restore": report.can_restore})
    else:
        print_table(_table(report))
    return 0 if report.can_restore else 1


def examine() -> Report:
    """Look at everything that restoring depends on."""
    report = Report(_versions())
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        report.problems.append(f"torch cannot be imported: {error}")
        return report
    try:
        import mambair_cli.kernels  # noqa: F401
    except MambairError as error:
        report.problems.append(f"{error.message}; {error.hint}")
        return report
    from mambair_cli.restoration.memory.available import available_system_memory

    report.cpu = _cpu()
    report.memory_available = available_system_memory()
    report.torch_platform = torch_platform()
    devices = found_devices()
    report.devices = {str(device): found for device, found in devices.items()}
    report.scan = _scan(list(devices))
    report.weights = dict(_weights())
    report.caches = _caches()
    return report


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES + KERNEL_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _cpu() -> dict[str, str | int]:
    import torch

    return {
        "architecture": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "usable_cores": usable_processors(),
        "torch_threads": torch.get_num_threads(),
    }


def _scan(devices: list[torch.device]) -> dict[str, dict[str, str | None]]:
    from mambair_cli.kernels.scan.dispatch import BACKENDS

    return {
        backend.name: {str(device): backend.refuses(device) for device in devices}
        for backend in BACKENDS
    }


def _weights() -> Iterator[tuple[str, str]]:
    from mambair_cli.checkpoints.catalogue import bundled_directory, entries
    from mambair_cli.disk import sha256_of

    for entry in entries():
        if entry.bundled is None:
            continue
        path = bundled_directory() / entry.bundled
        if not path.is_file():
            yield entry.id, f"missing: {path}"
        elif sha256_of(path) != entry.sha256:
            yield entry.id, f"damaged: {path} is not the file that the catalogue describes"
        else:
            yield entry.id, OK


def _caches() -> dict[str, str]:
    from mambair_cli.checkpoints import cache

    try:
        fetched = str(cache.home())
    except MambairError as error:
        fetched = f"nowhere: {error.message}"
    caches = {"fetched weights": fetched}
    if find_spec("numba") is None:
        return caches
    from mambair_cli.kernels import numba_cache

    return {"compiled kernels": numba_cache.place(), **caches}


def _table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    for title, rows in _sections(report):
        if not rows:
            continue
        table.add_row(Text(title, "bold"))
        for name, text in rows:
            table.add_row(Text(f"  {name}"), text)
    return table


def _sections(report: Report) -> Iterator[tuple[str, list[tuple[str, Text]]]]:
    versions = dict(report.versions)
    if report.torch_platform:
        versions["torch"] += f", built for {report.torch_platform}"
    yield "versions", [(name, Text(text)) for name, text in versions.items()]
    if report.cpu:
        cpu = [(name.replace("_", " "), Text(str(value))) for name, value in report.cpu.items()]
        cpu.append(("memory available", Text(f"{report.memory_available / GIB:.1f} GiB")))
        yield "processor", cpu
    devices = report.devices.items()
    yield (
        "devices",
        [(name, Text(str(found), "red" if found.problem else "")) for name, found in devices],
    )
    yield (
        "scan backends",
        [(name, _availability(refusals)) for name, refusals in report.scan.items()],
    )
    yield "bundled weights", [(name, _state(state)) for name, state in report.weights.items()]
    yield "caches", [(name, Text(path)) for name, path in report.caches.items()]
    yield "preferences", [*_preferences(report)]
    yield "problems", [("", Text(problem, "red")) for problem in report.problems]


def _preferences(report: Report) -> Iterator[tuple[str, Text]]:
    if report.preferences_file:
        there = "" if os.path.lexists(report.preferences_file) else " (there is none)"
        yield "file", Text(f"{report.preferences_file}{there}")
    for each in report.preferences:
        yield f"{each.command} {each.key}".lstrip(), Text(f"{each.value}, from {each.origin}")


def _availability(refusals: dict[str, str | None]) -> Text:
    lines = [
        Text(f"runs on {device}", "green") if reason is None else Text(f"not on {device}: {reason}")
        for device, reason in refusals.items()
    ]
    return Text("\n").join(lines)


def _state(state: str) -> Text:
    return Text(state, "green" if state == OK else "red")
