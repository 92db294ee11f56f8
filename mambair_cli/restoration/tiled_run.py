"""Tiles on their way through a network: of one image in a window or many, or of several images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mambair_cli.errors import BackendError, MemoryLimitError
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.memory.allocator import is_out_of_memory, may_be_out_of_memory
from mambair_cli.restoration.memory.available import in_mebibytes
from mambair_cli.restoration.memory.tile_size import SMALLEST_AUTO_TILE
from mambair_cli.restoration.plan import Limits, Plan, RestoreOptions, attempts, remember
from mambair_cli.restoration.tiling import Mosaic

Progress = Callable[[int, int], None]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Reports:
    """Who is told of a run.

    Attributes:
        progress: Called with tiles done and tiles in all.
        notice: Told how the image is run, and what did not go as planned.
    """

    progress: Progress
    notice: Notice

    @classmethod
    def to(cls, on_progress: Progress | None, on_notice: Notice | None) -> Reports:
        """Report to those that were given."""
        return cls(on_progress or _ignore, on_notice or _ignore)


class TiledRun:
    """Restores a mosaic, window by window.

    When memory runs out, fewer tiles or self-ensemble members run at a time, and finished tiles are
    kept. After that the image is started again with smaller tiles, which only works in the first
    window: rows that have left are not taken back. Since all tiles have one shape, what runs there
    runs in the others.

    Args:
        network: What `engine` runs.
        engine: On the network's device.
        limits: What the plan depends on.
        planned: How the image is run, if memory allows.
        options: What the user wanted of the tiles.
        mosaic: With the plan's grid.
        reports: Who is told.
        bounds: Between what the result of each image is clamped.
    """

    def __init__(
        self,
        network: nn.Module,
        engine: Engine,
        limits: Limits,
        planned: Plan,
        options: RestoreOptions,
        mosaic: Mosaic,
        reports: Reports,
        bounds: Sequence[tuple[float, float]],
    ) -> None:
        self.mosaic, self._bounds = mosaic, bounds
        self._network, self._engine, self._reports = network, engine, reports
        self._planned, self._per_pixel = planned, limits.per_pixel
        self._attempts = attempts(planned, options, engine.release)
        self._plan = next(self._attempts)
        self._report()
        reports.notice(f"running {planned}")

    def complete(self, x: Tensor) -> Tensor:
        """Restore the tiles of the mosaic's window.

        Args:
            x: `(b c rows w)` float32, the window's rows.

        Returns:
            The mosaic's finished rows, within the bounds; a view of its canvas.

        Raises:
            BackendError: The network's output is not numbers.
            MemoryLimitError: Memory is short even with the smallest tiles.
        """
        while not self._is_complete(x):
            self._take_next_plan()
        if self._plan != self._planned:
            remember(self._network, self._plan, self._per_pixel)
        return self.mosaic.finished

    def _take_next_plan(self) -> None:
        plan = next(self._attempts, None)
        if plan is None:
            raise MemoryLimitError(
                f"memory ran out on {self._engine.device} even with {self._plan}",
                "close other programs, use a smaller model, or another --device",
            )
        if plan.grid != self.mosaic.grid:
            if self.mosaic.top:
                remember(self._network, plan, self._per_pixel)
                raise MemoryLimitError(
                    f"memory ran out on {self._engine.device} in the middle of {self._plan}",
                    f"try again with smaller tiles: --tile {plan.grid.rows.size}",
                )
            self.mosaic.restart(plan.grid)
            self._report()
        self._plan = plan
        self._reports.notice(f"memory ran out; trying {plan}")

    def _is_complete(self, x: Tensor) -> bool:
        """Restore the tiles that are missing; return False when memory ran out.

        Nothing of a failed attempt is alive afterwards but the finished tiles.
        """
        engine, mosaic = self._engine, self.mosaic
        try:
            with engine.running():
                batches = mosaic.batches(x, self._plan.tiles)
                for restored in engine.stream(batches, self._plan, x.device):
                    # Here it is on the side of the image already: asked for on a GPU, the answer
                    # would have to be waited for. The extremes of all values take one pass, and are
                    # not numbers if any of them is not.
                    if not all(extreme.isfinite() for extreme in restored.aminmax()):
                        raise BackendError(
                            f"the network's output in {engine.precision} holds values that are not "
                            "numbers",
                            "use --precision fp32; if that fails too, the weights are damaged",
                        )
                    mosaic.add(restored, self._report)
                for image, bounds in zip(mosaic.finished, self._bounds, strict=True):
                    image.clamp_(*bounds)
        except MemoryError:
            return False
        except RuntimeError as error:
            # With the smallest tiles it must be what else such an error means.
            smallest = self._plan.pixels <= SMALLEST_AUTO_TILE**2
            if not (is_out_of_memory if smallest else may_be_out_of_memory)(error):
                raise
            return False
        return True

    def _report(self) -> None:
        self._reports.progress(self.mosaic.done, self.mosaic.tiles)


def new_canvas(shape: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """Take memory for results, `(b c h w)` float32, not initialised; no plan works without it.

    Raises:
        MemoryLimitError: There is not enough.
    """
    try:
        return torch.empty(shape, dtype=torch.float32, device=device)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
    height, width = shape[2:]
    needed = in_mebibytes(4 * math.prod(shape))
    raise MemoryLimitError(
        f"the result, {width}x{height} pixels, needs {needed} of memory on {device}",
        "close other programs, or cut the image into parts",
    )


def _ignore(*_: object) -> None:
    """Stand in for a callback that nobody gave."""
