"""The Ray cluster: connecting to it, and how many workers of which size it holds."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mambair_cli.errors import BackendError, UsageError

if TYPE_CHECKING:
    from mambair_cli.restoration.device.precision import Precision, PrecisionRequest

# Nothing is reported to anybody, and nothing of Ray's own gets into standard output, where it
# prints what went wrong on the nodes. Read when Ray is imported.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "$"}
ANSWER_SECONDS = 10.0
# Processors of a worker without a GPU: its threads wait for each other at every layer, so that
# many share an image less and less well; OMP_NUM_THREADS says another number.
PROCESSORS_OF_A_WORKER = 8
THREADS_VARIABLE = "OMP_NUM_THREADS"
PORT = re.compile(r"[0-9]{1,5}")
PORTS = range(1, 2**16)
INSTALL = "pip install 'mambair[ray]'"


@dataclass(frozen=True)
class Workers:
    """The workers that a cluster holds.

    Attributes:
        count: How many run at the same time.
        device: What each computes on.
        processors: Of each, for its threads.
        share: Of its node's main memory that each may take, at most 1.
    """

    count: int
    device: Literal["cpu", "cuda"]
    processors: int
    share: float

    @property
    def resources(self) -> dict[str, Any]:
        """Resources that Ray reserves for each."""
        return {"num_cpus": self.processors, "num_gpus": 1 if self.device == "cuda" else 0}

    @property
    def lanes(self) -> int:
        """Number of files that a worker has at the same time.

        A GPU waits for none that is read or written meanwhile; a CPU needs all its processors for
        the network.
        """
        return 1 + max(1, self.processors) if self.device == "cuda" else 1

    def names(self, jobs: int) -> list[str]:
        """Name the slots of those that are needed."""
        needed = min(self.count, -(-jobs // self.lanes))
        return [f"worker {number}" for number in range(1, needed + 1)]

    def __str__(self) -> str:
        count = f"{self.count} worker{'' if self.count == 1 else 's'}"
        if self.device == "cuda":
            return f"{count}, a GPU each"
        each = f"{self.processors} processor{'' if self.processors == 1 else 's'}"
        return f"{count}, {each} each"


def import_ray() -> Any:
    """Return the module of Ray.

    Raises:
        BackendError: It is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise BackendError(f"--engine ray needs Ray: {error}", INSTALL) from error
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster for as long as the context lasts.

    Args:
        address: `HOST:PORT`, or None for what RAY_ADDRESS names, else a cluster that this machine
            is part of, else a new one that no other machine can reach, which ends with the context.
            A process that is connected already stays so.

    Raises:
        UsageError: The address is none.
        BackendError: Ray is not installed, or no cluster answers there.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    if address is None:
        address = os.environ.get("RAY_ADDRESS") or None
    _check_answers(address)
    with _signals_kept():
        try:
            _connect(ray, address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BackendError(
                f"no Ray cluster can be used: {error}", "see if it runs with: ray status"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def find_workers(requested: str) -> Workers:
    """Divide the cluster.

    Args:
        requested: `auto`, `cuda` or `cpu`; `auto` is GPUs if the cluster has any.

    Returns:
        One worker for each GPU; without GPUs one for each slice of processors, as large on all
        nodes: 8, or what OMP_NUM_THREADS says, or all of the smallest node's.

    Raises:
        UsageError: Another device was requested.
        BackendError: The cluster has no such device.
    """
    if requested not in ("auto", "cuda", "cpu"):
        raise UsageError(
            f"--device {requested} cannot be chosen with --engine ray",
            "Ray gives every worker its device: use --device auto, cuda or cpu",
        )
    nodes = _resources()
    gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if requested == "cuda" and not gpus:
        raise BackendError("the cluster has no GPU", "see what it has with: ray status")
    if gpus and requested != "cpu":
        return _for_gpus(gpus)
    processors = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not processors:
        raise BackendError("the cluster has no processors", "see what it has with: ray status")
    wanted = os.environ.get(THREADS_VARIABLE, "")
    size = int(wanted) if wanted.isdecimal() and int(wanted) else PROCESSORS_OF_A_WORKER
    size = min(size, *processors)
    count = sum(number // size for number in processors)
    return Workers(count, "cpu", size, 1 / max(number // size for number in processors))


def number_format(workers: Workers, requested: PrecisionRequest) -> Precision:
    """Decide the precision of all workers: on one of the nodes, if it takes a GPU to know.

    Raises:
        BackendError: A processor cannot compute in it; GPUs are asked when they are needed.
    """
    if workers.device == "cpu" or requested != "auto":
        return _number_format(workers.device, requested)
    ray = import_ray()
    remote = ray.remote(num_cpus=0, num_gpus=1)(_number_format)
    found: Precision = ray.get(remote.remote(workers.device, requested))
    return found


def _number_format(device: str, requested: PrecisionRequest) -> Precision:
    import torch

    from mambair_cli.restoration.device.precision import resolve_precision

    if device == "cuda" and requested != "auto":
        return requested
    return resolve_precision(requested, torch.device(device))


def _for_gpus(nodes: list[dict[str, float]]) -> Workers:
    counts = [int(node["GPU"]) for node in nodes]
    each = min(int(node.get("CPU", 0)) // count for node, count in zip(nodes, counts, strict=True))
    processors = min(each, PROCESSORS_OF_A_WORKER)
    return Workers(sum(counts), "cuda", processors, 1 / max(counts))


def _resources() -> list[dict[str, float]]:
    return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]


def _check_answers(address: str | None) -> None:
    """Find out whether anything listens; Ray itself would try for minutes, and say so."""
    if address is None or address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not PORT.fullmatch(port) or int(port) not in PORTS:
        raise UsageError(
            f"{address!r} is no address of a Ray cluster",
            "give the host and port of its head node, such as 10.0.0.1:6379, on one of its nodes; "
            "from elsewhere, submit the command with: ray job submit",
        )
    try:
        asyncio.run(asyncio.wait_for(_knock(host.strip("[]"), int(port)), ANSWER_SECONDS))
    except (OSError, TimeoutError, UnicodeError) as error:
        raise BackendError(
            f"no Ray cluster answers at {address}: {error or 'it takes too long'}",
            "check the address, and start the cluster with: ray start --head",
        ) from error


async def _knock(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


def _connect(ray: Any, address: str | None) -> None:
    from ray._private import services

    # None, which its signature leaves out, is what it looks for a running cluster for.
    is_new = services.canonicalize_bootstrap_address(address) is None  # type: ignore[arg-type]
    with _on_loopback() if is_new else nullcontext():
        ray.init(
            address="local" if is_new else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False,
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have Ray give a new cluster the address of loopback, as it does on Windows and macOS.

    Everything of it listens where its node is. An address that is handed to Ray is replaced by
    one that other machines can reach.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep what SIGTERM does: Ray would have it end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
