"""CUDA graphs: a run of the network recorded once and replayed without Python or launches between.

A graph pays where the GPU waits for the CPU to launch kernels, as with small tiles. It is bound to
one shape, one precision and the addresses of the weights, and its intermediate results keep their
memory as long as it lives.

A recording that fails leaves many releases of torch (through 2.13, in one way or the other) in the
belief that it goes on: cached memory is not given back any more, and being asked for it raises. So
what the recording began is ended here, and no other is tried in this process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mambair_cli.restoration.device.precision import Precision
from mambair_cli.restoration.memory.allocator import is_out_of_memory

Run = Callable[[Tensor], Tensor]
Notify = Callable[[str], None]

# Eager runs of a shape before it is recorded. They compile kernels and choose algorithms, which no
# recording may do. And recording costs about what a few runs' launches do: by then the shape has
# come often enough to expect it again, and if it never does, no more than that was lost.
EAGER_RUNS = 3
# Shapes remembered at a time, recorded or not: two orientations of the tiles of a few image sizes.
KEPT_SHAPES = 8
# Memory of all GPUs is given back at once, also before each recording: some releases of torch
# refuse that, or the recording, while another thread records on another GPU.
_ONE_AT_A_TIME = threading.RLock()
_GIVEN_UP = threading.Event()
# What routes allocations of a recording to their pool no longer, by the names it has had.
_END_OF_ROUTING = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")


def empty_cache(interface: ModuleType) -> None:
    """Have GPUs give back the memory that nothing uses, as far as torch lets them.

    Args:
        interface: `torch.cuda` or `torch.xpu`.
    """
    with _ONE_AT_A_TIME, suppress(RuntimeError):
        interface.empty_cache()


class CudaGraph:
    """One recorded run.

    Args:
        run: What to record; it ran on this shape before.
        example: A batch on the GPU.
        pool: Memory pool of its intermediate results. Others may share it: graphs never run at
            once, and each result is copied out before the next replay.
        stream: Where to record; torch's own one belongs to whichever GPU recorded first.
        interface: `torch.cuda`.

    Raises:
        RuntimeError: The run does something that cannot be recorded, or memory is short.
    """

    def __init__(
        self, run: Run, example: Tensor, pool: Any, stream: Any, interface: ModuleType
    ) -> None:
        self.pool = pool
        self._x = example.clone()
        self._graph = interface.CUDAGraph()
        # Other threads may allocate for other GPUs meanwhile.
        mode = "thread_local"
        recording = interface.graph(self._graph, pool=pool, stream=stream, capture_error_mode=mode)
        # One that fails leaves its stream as the current one, which the outer context undoes.
        with interface.stream(interface.current_stream(example.device)), recording:
            self._restored = run(self._x)

    def replay(self, x: Tensor) -> Tensor:
        """Run it on another batch of the same shape; the result is the caller's own."""
        self._x.copy_(x)
        self._graph.replay()
        return self._restored.clone()


@dataclass
class _Shape:
    """What is known of one shape: how often it ran, its graph, whether none can be recorded."""

    runs: int = 0
    graph: CudaGraph | None = None
    refused: bool = False


class Graphs:
    """The graphs of one network, recorded for the shapes that come again and again.

    Args:
        interface: `torch.cuda`.
    """

    def __init__(self, interface: ModuleType) -> None:
        self._interface = interface
        self._stream: Any = None
        self._state: object = None
        self._shapes: OrderedDict[object, _Shape] = OrderedDict()

    @property
    def held(self) -> bool:
        """Whether any graph keeps memory."""
        return any(shape.graph is not None for shape in self._shapes.values())

    def release(self) -> None:
        """Free all graphs and their memory."""
        self._shapes.clear()

    def recording(self, state: object, precision: Precision, run: Run, notify: Notify) -> Run:
        """Return a run that records itself when a shape comes often enough, and replays it then.

        Args:
            state: The network's `half_weights.frozen_state`; graphs of an earlier one are released.
            precision: What it runs in.
            run: The eager run on the GPU.
            notify: Told when a shape cannot be recorded; it goes on eagerly then.

        Returns:
            A run with the same results; `run` itself for a network that is not frozen.
        """
        if state != self._state:
            self.release()
            self._state = state
        if state is None:
            return run
        return lambda x: self._run(precision, run, x, notify)

    def _run(self, precision: Precision, run: Run, x: Tensor, notify: Notify) -> Tensor:
        shape = self._shapes.setdefault((precision, x.shape, x.dtype), _Shape())
        self._shapes.move_to_end((precision, x.shape, x.dtype))
        if len(self._shapes) > KEPT_SHAPES:
            self._shapes.popitem(last=False)
        recordable = not (shape.refused or _GIVEN_UP.is_set())
        if shape.graph is None and recordable and shape.runs >= EAGER_RUNS:
            with _ONE_AT_A_TIME:
                shape.graph = self._record(run, x, notify)
            shape.refused = shape.graph is None
        if shape.graph is not None:
            return shape.graph.replay(x)
        restored = run(x)
        shape.runs += 1
        return restored

    def _record(self, run: Run, x: Tensor, notify: Notify) -> CudaGraph | None:
        others = (shape.graph for shape in self._shapes.values())
        pool = next((graph.pool for graph in others if graph is not None), None)
        pool = pool or self._interface.graph_pool_handle()
        # One for all: libraries keep a workspace for each stream that they ever ran on.
        self._stream = self._stream or self._interface.Stream(x.device)
        try:
            return CudaGraph(run, x, pool, self._stream, self._interface)
        except RuntimeError as error:
            _end_routing(x.device, pool)
            if not is_out_of_memory(error):
                _GIVEN_UP.set()
            # This shape just ran eagerly, so what fails is recording it; if the run itself fails
            # now, the eager one that follows fails again, and is not caught.
            b, _, height, width = x.shape
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            notify(
                f"no CUDA graph for {b} x {width}x{height} pixels ({reason}); running without one"
            )
            return None


def _end_routing(device: torch.device, pool: Any) -> None:
    """End what a failed recording began, where torch has not ended it itself."""
    names = (name for name in _END_OF_ROUTING if hasattr(torch._C, name))  # noqa: SLF001
    if (name := next(names, None)) is None:
        return
    # Ended already: the error says so, and the pool has been released or is not ours to release.
    with suppress(RuntimeError):
        getattr(torch._C, name)(device.index, pool)  # noqa: SLF001
        torch._C._cuda_releasePool(device.index, pool)  # noqa: SLF001


_GRAPHS: WeakKeyDictionary[nn.Module, Graphs] = WeakKeyDictionary()


def graphs_of(network: nn.Module, interface: ModuleType) -> Graphs | None:
    """Return the graphs of a network, or None where the GPU's interface has none."""
    if not hasattr(interface, "CUDAGraph"):
        return None
    if network not in _GRAPHS:
        _GRAPHS[network] = Graphs(interface)
    return _GRAPHS[network]
