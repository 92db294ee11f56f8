"""A stand-in for torch.cuda on tensors of the CPU, and memory that runs out where a test wants."""

import threading
from collections import deque
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mambair_cli.restoration import engine
from mambair_cli.restoration.device import cuda_graphs, transfers


def tensors(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class Recorder(TorchDispatchMode):
    """Notes every operation, to do it again on the same memory."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, results))
        return results

    def again(self):
        for func, args, kwargs, results in self.calls:
            for old, new in zip(tensors(results), tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Later(TorchDispatchMode):
    """Puts off copies into existing memory, as a stream does: they are done when waited for."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.copy_.default:
            self.stream.put_off_copy(lambda: args[0].copy_(args[1]))
            return args[0]
        return func(*args, **(kwargs or {}))


class Stream:
    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name
        self.waiting, self.put_off = deque(), 0

    def put_off_copy(self, copy):
        self.waiting.append(copy)
        self.put_off += 1

    def catch_up(self, due):
        while self.waiting and self.put_off - len(self.waiting) < due:
            self.waiting.popleft()()

    def wait_event(self, event):
        self.gpu.log.append((self.name, "waits for", event.name))

    def wait_stream(self, stream):
        self.gpu.log.append((self.name, "waits for", stream.name))

    def record_event(self):
        return Event(self)


class Event:
    def __init__(self, stream):
        self.stream, self.due = stream, stream.put_off
        stream.gpu.events += 1
        self.name = f"event {stream.gpu.events}"
        stream.gpu.log.append((stream.name, "records", self.name))

    def synchronize(self):
        self.stream.gpu.log.append(("cpu", "waits for", self.name))
        self.stream.catch_up(self.due)


class Graph:
    """Records with `Recorder`; replaying touches nothing but the recorded tensors."""

    def __init__(self, gpu):
        self.gpu, self.recorder = gpu, Recorder()

    def replay(self):
        self.gpu.replays += 1
        self.recorder.again()


class StandIn:
    """What the engine uses of torch.cuda.

    Attributes:
        log: What streams, events and the CPU waited for, in order.
        transfers: Shapes of all pinned buffers, uploads and downloads.
        replays: How often a graph was replayed.
        recording_streams: Streams that graphs were recorded on.
        pools: Pool that each graph was recorded into.
        released: Pools whose failed recording was ended.
        fault: Raised when a graph is recorded, if not None.
        recording: Pools that the allocator believes are recorded into; after a failure it goes on
            to, until it is told otherwise.
        on_empty_cache: Called when cached memory is given back.
    """

    def __init__(self):
        self.log, self.transfers, self.pools, self.released = [], [], [], []
        self.events = self.replays = 0
        self.streams, self.recording_streams = [], set()
        self.fault, self.recording = None, []
        self.on_empty_cache = lambda: None
        self.compute = Stream(self, "compute")

    def device(self, _):
        return nullcontext()

    def Stream(self, _):  # noqa: N802
        self.streams.append(Stream(self, "copies"))
        return self.streams[-1]

    def current_stream(self, _):
        return self.compute

    def stream(self, stream):
        return nullcontext() if stream is self.compute else Later(stream)

    def empty_cache(self):
        if self.recording:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")
        with torch.inference_mode():
            for stream in self.streams:
                stream.catch_up(stream.put_off)
        self.on_empty_cache()

    def CUDAGraph(self):  # noqa: N802
        return Graph(self)

    @contextmanager
    def graph(self, graph, *, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.recording_streams.add(stream)
        self.pools.append(pool)
        self.recording.append(pool)
        with graph.recorder:
            yield
        if self.fault is not None:
            raise self.fault
        self.recording.remove(pool)

    def graph_pool_handle(self):
        return object()

    def end_routing(self, _, pool):
        if pool not in self.recording:
            raise RuntimeError("endAllocateToPool: not currently recording to mempool_id")
        self.recording.remove(pool)

    def pinned(self, shape, dtype):
        self.transfers.append(tuple(shape))
        return torch.full(shape, torch.nan, dtype=dtype)


@pytest.fixture
def gpu(monkeypatch):
    """Makes the engine take the CPU for a GPU."""
    stand_in = StandIn()
    monkeypatch.setattr(engine, "COPYING", ("cpu",))
    monkeypatch.setattr(torch, "get_device_module", lambda _: stand_in)
    monkeypatch.setattr(transfers, "pinned", stand_in.pinned)
    monkeypatch.setattr(cuda_graphs, "_GIVEN_UP", threading.Event())
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", stand_in.end_routing, raising=False)
    released = stand_in.released.append
    monkeypatch.setattr(
        torch._C, "_cuda_releasePool", lambda _, pool: released(pool), raising=False
    )
    return stand_in


class ShortMemory(TorchDispatchMode):
    """Raises once, instead of doing an operation.

    Args:
        at: Which operation that may need memory; counted from 0.
        error: What is raised.
    """

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error, self.count = at, error, 0
        self.made = []
        self.failed_in = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.count += 1
            if self.count - 1 == self.at:
                self.failed_in = func
                # An error that is kept would keep everything that its traceback names.
                raise type(self.error)(*self.error.args)
        results = func(*args, **(kwargs or {}))
        if self.failed_in is None and not func.is_view and not func._schema.is_mutable:
            self.made += [StorageWeakRef(t.untyped_storage()) for t in tensors(results)]
        return results

    def alive(self):
        return {made for made in self.made if not made.expired()}


@pytest.fixture
def short_memory():
    return ShortMemory
