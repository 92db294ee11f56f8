import threading

import pytest
import torch
from torch import nn

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig
from mambair_cli.restoration.device import cuda_graphs
from mambair_cli.restoration.device.cuda_graphs import (
    EAGER_RUNS,
    KEPT_SHAPES,
    Graphs,
    empty_cache,
    graphs_of,
)
from mambair_cli.restoration.device.half_weights import frozen_state
from mambair_cli.restoration.device.scan_backend import set_scan_backend


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def network():
    with torch.inference_mode(mode=False):
        return nn.Conv2d(3, 3, 3, padding=1).requires_grad_(requires_grad=False)


class Counted:
    def __init__(self, network):
        self.network, self.eager = network, 0

    def __call__(self, x):
        self.eager += 1
        return self.network(x)


def never(notice):
    raise AssertionError(notice)


def test_a_shape_is_recorded_when_it_comes_often_and_replayed_then(gpu, network):
    graphs, run = Graphs(gpu), Counted(network)
    recorded = graphs.recording(frozen_state(network), "fp32", run, never)
    results = []
    for index in range(EAGER_RUNS + 3):
        assert graphs.held == (index > EAGER_RUNS)
        x = torch.rand(2, 3, 5, 7)
        results.append((recorded(x), network(x)))
    # One more call records; nothing is computed by it.
    assert run.eager == EAGER_RUNS + 1
    assert gpu.replays == 3
    for result, expected in results:
        assert torch.equal(result, expected)


def often(recorded, *shape):
    for _ in range(EAGER_RUNS + 1):
        recorded(torch.rand(shape))


def test_each_shape_and_precision_has_its_own_and_all_share_their_memory(gpu, network):
    graphs = Graphs(gpu)
    for precision in ("fp32", "tf32"):
        recorded = graphs.recording(frozen_state(network), precision, network, never)
        often(recorded, 1, 3, 5, 7)
        often(recorded, 2, 3, 5, 7)
    assert len(gpu.pools) == 4
    assert len(set(map(id, gpu.pools))) == 1
    assert len(gpu.recording_streams) == 1


def test_the_shapes_kept_are_bounded_and_the_oldest_go(gpu, network):
    graphs = Graphs(gpu)
    recorded = graphs.recording(frozen_state(network), "fp32", network, never)
    often(recorded, 1, 3, 5, 7)
    for width in range(KEPT_SHAPES):
        recorded(torch.rand(1, 3, 5, 8 + width))
    assert not graphs.held
    often(recorded, 1, 3, 5, 7)
    assert len(gpu.pools) == 2
    # The first pool went with the last graph in it.
    assert gpu.pools[0] is not gpu.pools[1]


def test_changed_weights_are_used(gpu, network):
    graphs = Graphs(gpu)
    often(graphs.recording(frozen_state(network), "fp32", network, never), 1, 3, 5, 7)
    assert graphs.held
    with torch.inference_mode(mode=False):
        network.bias.add_(1)
    recorded = graphs.recording(frozen_state(network), "fp32", network, never)
    assert not graphs.held
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(recorded(x), network(x))


def test_weights_that_can_change_unnoticed_are_never_recorded(gpu, network):
    network.requires_grad_()
    assert Graphs(gpu).recording(frozen_state(network), "fp32", network, never) is network


def test_another_scan_is_recorded_anew(gpu):
    with torch.inference_mode(mode=False):
        network = build_network(MambaIRConfig(embed_dim=8, d_state=2, depths=(1,)))
        network.requires_grad_(requires_grad=False)
    graphs = Graphs(gpu)
    often(graphs.recording(frozen_state(network), "fp32", lambda x: x + 1, never), 1, 3, 5, 7)
    graphs.recording(frozen_state(network), "fp32", network, never)
    assert graphs.held
    set_scan_backend(network, "numba")
    graphs.recording(frozen_state(network), "fp32", network, never)
    assert not graphs.held


def test_a_network_that_reads_nothing_but_its_input_replays_exactly(gpu):
    with torch.inference_mode(mode=False):
        config = MambaIRConfig(upscale=2, embed_dim=8, d_state=2, depths=(1,))
        network = build_network(config).requires_grad_(requires_grad=False)
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, never)
    for _ in range(EAGER_RUNS + 2):
        x = torch.rand(2, 3, 6, 9)
        torch.testing.assert_close(recorded(x), network(x))
    assert gpu.replays == 2


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("capture failed\nlong story")],
    ids=["memory", "capture"],
)
def test_what_cannot_be_recorded_is_said_once_and_runs_eagerly(gpu, network, error):
    gpu.fault, told = error, []
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, told.append)
    for _ in range(EAGER_RUNS + 3):
        x = torch.rand(1, 3, 5, 7)
        assert torch.equal(recorded(x), network(x))
    reason = str(error).splitlines()[0]
    assert told == [f"no CUDA graph for 1 x 7x5 pixels ({reason}); running without one"]
    assert len(gpu.pools) == 1


def test_a_failed_recording_is_ended_and_the_last_of_this_process(gpu, network):
    gpu.fault = RuntimeError("operation not permitted when stream is capturing")
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, lambda _: None)
    often(recorded, 1, 3, 5, 7)
    assert gpu.released == gpu.pools
    empty_cache(gpu)
    gpu.fault = None
    often(recorded, 1, 3, 5, 8)
    often(Graphs(gpu).recording(frozen_state(network), "fp32", network, never), 1, 3, 5, 7)
    assert len(gpu.pools) == 1


def test_memory_that_is_too_short_to_record_one_shape_may_do_for_another(gpu, network):
    gpu.fault = torch.OutOfMemoryError("CUDA out of memory")
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, lambda _: None)
    often(recorded, 1, 3, 5, 7)
    gpu.fault = None
    often(recorded, 1, 3, 5, 8)
    assert len(gpu.pools) == 2
    recorded(torch.rand(1, 3, 5, 8))
    assert gpu.replays == 2


def test_a_torch_that_ended_the_recording_itself_is_not_told_again(gpu, network, monkeypatch):
    gpu.fault = RuntimeError("capture failed")
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, lambda _: None)

    def ended(_device, pool):
        gpu.recording.remove(pool)
        gpu.end_routing(_device, pool)

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", ended)
    often(recorded, 1, 3, 5, 7)
    assert not gpu.released
    monkeypatch.delattr(torch._C, "_cuda_endAllocateToPool")
    monkeypatch.setattr(cuda_graphs, "_GIVEN_UP", threading.Event())
    often(recorded, 1, 3, 5, 8)
    assert len(gpu.pools) == 2


def test_what_torch_refuses_to_give_back_stays_where_it_is(gpu):
    gpu.recording.append(object())
    empty_cache(gpu)


def test_nothing_is_given_back_while_another_gpu_records(gpu, network):
    begun, ended, order = threading.Event(), threading.Event(), []
    gpu.on_empty_cache = lambda: order.append("given back")

    def run(x):
        if gpu.recording:
            begun.set()
            assert not ended.wait(0.2)
            order.append("recorded")
        return network(x)

    def give_back():
        assert begun.wait(60)
        empty_cache(gpu)
        ended.set()

    other = threading.Thread(target=give_back)
    other.start()
    often(Graphs(gpu).recording(frozen_state(network), "fp32", run, never), 1, 3, 5, 7)
    other.join()
    assert order == ["recorded", "given back"]


def test_errors_of_another_kind_pass(gpu, network):
    gpu.fault = KeyboardInterrupt()
    recorded = Graphs(gpu).recording(frozen_state(network), "fp32", network, never)
    with pytest.raises(KeyboardInterrupt):
        often(recorded, 1, 3, 5, 7)


def test_a_network_has_one_set_of_graphs_where_the_interface_has_any(gpu, network):
    assert graphs_of(network, gpu) is graphs_of(network, gpu)
    assert graphs_of(network, object()) is None
