"""Runs batches of tiles on a network's device: precision, self-ensemble, graphs, copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

import torch
from torch import Tensor, nn

from mambair_cli.restoration.device.cuda_graphs import empty_cache, graphs_of
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.precision import HALF_TYPES, Precision, computing_in
from mambair_cli.restoration.device.transfers import direct, overlapped
from mambair_cli.restoration.device.workers import side_by_side
from mambair_cli.restoration.ensemble import self_ensemble
from mambair_cli.restoration.plan import Plan

Run = Callable[[Tensor], Tensor]

# Devices that copy beside computing.
COPYING = ("cuda", "xpu")


def batches(device: torch.device) -> bool:
    """Tell whether several tiles at once are faster there than one after the other."""
    return device.type in COPYING


class Engine:
    """A network on its device, ready for batches of tiles.

    One thread at a time may use a network.

    Args:
        network: Maps `(b c h w)` to `(b c h*s w*s)`.
        precision: What it computes in.
        ensemble: Average over the eight flips and turns.
        notify: Told what a user should know.
    """

    def __init__(
        self,
        network: nn.Module,
        precision: Precision,
        *,
        ensemble: bool,
        notify: Callable[[str], None],
    ) -> None:
        self.device = next(network.parameters()).device
        self.precision = precision
        self._network = network
        self._ensemble, self._notify = ensemble, notify
        self._interface: ModuleType | None = None
        if batches(self.device):
            self._interface = torch.get_device_module(self.device)
        self._graphs = None if self._interface is None else graphs_of(network, self._interface)

    @property
    def batches(self) -> bool:
        """Whether several tiles at once are faster than one after the other."""
        return self._interface is not None

    @property
    def threads(self) -> int:
        """How many threads share the network's work, inside of a run or one run each."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    @property
    def records(self) -> bool:
        """Whether runs can be recorded as graphs."""
        return self._graphs is not None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enter the context in which `stream` must be consumed."""
        # Kernels and graphs run on the current device, whatever their tensors' device is.
        current = nullcontext() if self._interface is None else self._interface.device(self.device)
        with torch.inference_mode(), current:
            yield

    def stream(self, batches: Iterator[Tensor], plan: Plan, home: torch.device) -> Iterator[Tensor]:
        """Restore batches of tiles.

        Args:
            batches: `(g c h w)` float32 each.
            plan: How many run side by side, how many orientations together, whether runs are
                recorded.
            home: The device of the batches.

        Returns:
            `(g c h*s w*s)` float32 each, on that device.
        """
        run = self._run(plan)
        if self._interface is not None and home.type == "cpu":
            return overlapped(batches, run, self.device, self._interface)
        if plan.workers > 1 and not self._spreads_orientations(plan):
            return side_by_side(batches, _in_a_thread(run), plan.workers)
        return direct(batches, run, self.device)

    def release(self) -> bool:
        """Free what is kept on the device for later runs; return whether there were graphs."""
        held = self._graphs is not None and self._graphs.held
        if self._graphs is not None:
            self._graphs.release()
        if self._interface is not None:
            empty_cache(self._interface)
        return held

    def _run(self, plan: Plan) -> Run:
        compute, state = self._network, frozen_state(self._network)
        if self.precision in HALF_TYPES:
            compute = with_half_weights(compute, HALF_TYPES[self.precision], state)

        def run(x: Tensor) -> Tensor:
            with computing_in(self.precision, self.device):
                restored: Tensor = compute(x)
                return restored

        restore: Run = run
        if plan.graphs and self._graphs is not None:
            restore = self._graphs.recording(state, self.precision, run, self._notify)
        if not self._ensemble:
            return restore

        def restore_all(batches: Iterator[Tensor]) -> Iterator[Tensor]:
            if self._spreads_orientations(plan):
                return side_by_side(batches, _in_a_thread(restore), plan.workers)
            return map(restore, batches)

        return lambda x: self_ensemble(restore_all, x, plan.members)

    def _spreads_orientations(self, plan: Plan) -> bool:
        """Tell whether it is orientations of the only tile, not tiles, that run side by side."""
        return self._ensemble and plan.workers > 1 and len(plan.grid) == 1


def _in_a_thread(run: Run) -> Run:
    """Make a run fit for a thread of its own, where inference mode is not on."""

    def restore(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return run(x).float()

    return restore
