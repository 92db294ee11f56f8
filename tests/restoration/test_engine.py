import gc

import pytest
import torch
from torch import nn
from torch.nn import functional

from mambair_cli.errors import BackendError, MemoryLimitError
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration import engine
from mambair_cli.restoration.device import cuda_graphs
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.tile_size import PLANNED_SHARE
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

SPEC = ModelSpec("stub", "sr", 2, 3)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")
TILES = RestoreOptions(tile=32, overlap=8)
ENSEMBLE = RestoreOptions(tile=32, overlap=8, ensemble=True)


class Network(nn.Module):
    """Convolves and enlarges; not symmetric, so a tile in the wrong place or orientation shows."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        kernel = torch.rand(3, 1, 3, 3, generator=generator) / 9
        self.kernel = nn.Parameter(kernel, requires_grad=False)
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        filtered = functional.conv2d(x, self.kernel, padding=1, groups=3)
        return functional.interpolate(torch.sin(3 * filtered), scale_factor=2)


@pytest.fixture
def image():
    return torch.rand(1, 3, 50, 100, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def on_a_cpu(monkeypatch):
    """Restores with nothing special."""

    def restore(image, options):
        with monkeypatch.context() as without:
            without.setattr(engine, "COPYING", ())
            return restore_tensor(Network(), image, SPEC, options)

    return restore


@pytest.fixture
def plain(image, on_a_cpu):
    return {options: on_a_cpu(image, options) for options in (TILES, ENSEMBLE)}


@pytest.fixture(autouse=True)
def memory_for_four(monkeypatch):
    """Four tiles of 32x32 fit beside the results, which a stand-in has in the same memory."""
    needed = 4 * 32 * 32 * 1000
    monkeypatch.setattr(
        memory, "available_memory", lambda _: round(needed / PLANNED_SHARE + 480_009)
    )
    monkeypatch.setattr("mambair_cli.restoration.plan.bytes_per_pixel", lambda *_: 1000)
    monkeypatch.setattr("mambair_cli.restoration.plan.RECORDED_SHARE", 1)


@pytest.mark.parametrize("options", [TILES, ENSEMBLE], ids=["plain", "ensemble"])
def test_a_gpu_gives_what_a_cpu_does(gpu, image, plain, options):
    network = Network()
    for _ in range(4):
        assert torch.equal(restore_tensor(network, image, SPEC, options), plain[options])
    assert gpu.replays


def test_tiles_of_one_shape_run_together(gpu, image):
    network = Network()
    restore_tensor(network, image, SPEC, TILES)
    assert network.shapes == [(4, 3, 32, 32), (4, 3, 32, 32)]
    assert gpu.transfers[:2] == [(4, 3, 32, 32)] * 2


@pytest.mark.usefixtures("gpu")
def test_tiles_are_spread_evenly_over_batches():
    network = Network()
    restore_tensor(network, torch.rand(1, 3, 32, 120), SPEC, TILES)
    assert [shape[0] for shape in network.shapes] == [3, 2]


@pytest.mark.usefixtures("gpu")
def test_orientations_come_before_tiles_in_a_batch(image):
    network = Network()
    restore_tensor(network, image, SPEC, ENSEMBLE)
    assert {shape[0] for shape in network.shapes} == {4}


@pytest.mark.usefixtures("gpu")
def test_with_room_for_more_several_tiles_run_in_four_orientations(monkeypatch, image, plain):
    monkeypatch.setattr(memory, "available_memory", lambda _: 10**9)
    network = Network()
    assert torch.equal(restore_tensor(network, image, SPEC, ENSEMBLE), plain[ENSEMBLE])
    assert [shape[0] for shape in network.shapes] == [4 * 8] * 2


def test_a_batch_never_exceeds_the_largest_tile(monkeypatch, gpu):
    monkeypatch.setattr(memory, "available_memory", lambda _: 10**12)
    monkeypatch.setattr("mambair_cli.restoration.plan.LARGEST_BATCH", 3000)
    network = Network()
    restore_tensor(network, torch.rand(1, 3, 50, 100), SPEC, TILES)
    assert {shape[0] for shape in network.shapes} == {2}
    assert max(shape[0] for shape in gpu.transfers) == 2


@pytest.mark.parametrize("options", [TILES, ENSEMBLE], ids=["plain", "ensemble"])
def test_nothing_larger_than_a_batch_of_tiles_goes_to_or_from_the_gpu(gpu, image, options):
    restore_tensor(Network(), image, SPEC, options)
    assert max(b * h * w for b, _, h, w in gpu.transfers) <= 4 * 64 * 64
    assert len(gpu.transfers) == 2 * (2 if options is TILES else 8)


def test_a_whole_image_is_one_transfer_each_way(gpu, image):
    restore_tensor(Network(), image, SPEC, RestoreOptions(tile=0))
    assert gpu.transfers == [(1, 3, 50, 100), (1, 3, 100, 200)]


@pytest.mark.usefixtures("gpu")
def test_the_plan_is_told(image):
    told = []
    restore_tensor(Network(), image, SPEC, TILES, on_notice=told.append)
    restore_tensor(Network(), image, SPEC, RestoreOptions(0, ensemble=True), on_notice=told.append)
    assert told == [
        "running 8 tiles of 32x32, 4 together, CUDA graphs",
        "running 100x50 pixels whole, CUDA graphs",
    ]


@pytest.mark.usefixtures("gpu")
def test_values_that_are_not_numbers_are_found_in_any_tile(image):
    image[0, 0, 49, 99] = torch.nan
    with pytest.raises(BackendError, match="the network's output in fp32 holds values that"):
        restore_tensor(Network(), image, SPEC, TILES)


ERRORS = [OUT_OF_MEMORY, MemoryError(), RuntimeError("CUDA error: out of memory")]


def run_short(short_memory, at, image, options, *, warm=0, error=OUT_OF_MEMORY, network=None):
    """Restores an image while the operation `at`, counted from the first tile on, fails once."""
    network = network or Network()
    for _ in range(warm):
        restore_tensor(network, image, SPEC, options)
    mode, seen = short_memory(-1, error), []

    def progress(done, total):
        if not seen:
            mode.at = mode.count + at
        seen.append((done, total))

    with mode:
        restored = restore_tensor(network, image, SPEC, options, progress)
    return restored, mode, seen


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("options", "warm", "size", "tiles"),
    [(TILES, 0, (30, 110), 5), (TILES, 2, (30, 110), 5), (ENSEMBLE, 0, (20, 40), 2)],
    ids=["eager", "recorded", "ensemble"],
)
def test_memory_may_run_out_anywhere(short_memory, on_a_cpu, options, warm, size, tiles):
    image = torch.rand(1, 3, *size)
    plain = on_a_cpu(image, options)
    failed_in, at = set(), 0
    while True:
        restored, mode, seen = run_short(short_memory, at, image, options, warm=warm)
        assert torch.equal(restored, plain), (at, mode.failed_in)
        assert seen == [(done, tiles) for done in range(tiles + 1)]
        if mode.failed_in is None:
            break
        failed_in.add(str(mode.failed_in))
        at += 1
    # Upload and download, compute, check, blend, the last clamp.
    assert {
        "aten.copy_.default", "aten.sin.default", "aten.aminmax.default", "aten.mul.Tensor",
        "aten.add_.Tensor", "aten.clamp_.default",
    } <= failed_in  # fmt: skip


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_finished_tiles_are_kept_and_fewer_run_together(image, plain, error):
    network, told = Network(), []
    first = network.forward

    def second_batch_fails(x):
        if len(network.shapes) == 1:
            network.shapes.append("fails")
            raise error
        return first(x)

    network.forward = second_batch_fails
    restored = restore_tensor(network, image, SPEC, TILES, on_notice=told.append)
    assert torch.equal(restored, plain[TILES])
    # The first batch was computed, but the second failed before it had come back.
    assert [shape if shape == "fails" else shape[0] for shape in network.shapes] == (
        [4, "fails", 2, 2, 2, 2]
    )
    assert told == [
        "running 8 tiles of 32x32, 4 together, CUDA graphs",
        "memory ran out; trying 8 tiles of 32x32, 2 together",
    ]


@pytest.mark.usefixtures("gpu")
def test_what_worked_is_kept_for_the_next_image(image, plain):
    class Hungry(Network):
        def forward(self, x):
            restored = super().forward(x)
            if len(x) > 2:
                raise OUT_OF_MEMORY
            return restored

    network = Hungry()
    for attempts in ([4, 2, 2, 2, 2], [2, 2, 2]):
        network.shapes.clear()
        assert torch.equal(restore_tensor(network, image, SPEC, TILES), plain[TILES])
        assert [shape[0] for shape in network.shapes][: len(attempts)] == attempts


def test_graphs_are_released_before_anything_else_is_given_up(gpu, image, plain, monkeypatch):
    network, told = Network(), []
    for _ in range(2):
        restore_tensor(network, image, SPEC, TILES)
    assert gpu.replays == 1

    def no_memory(*_):
        raise OUT_OF_MEMORY

    monkeypatch.setattr(cuda_graphs.CudaGraph, "replay", no_memory)
    restored = restore_tensor(network, image, SPEC, TILES, on_notice=told.append)
    assert torch.equal(restored, plain[TILES])
    assert told[1:] == ["memory ran out; trying 8 tiles of 32x32, 4 together"]
    assert not cuda_graphs.graphs_of(network, gpu).held


def test_memory_may_run_out_after_a_recording_failed(gpu, image, plain):
    network, told = Network(), []
    gpu.fault = RuntimeError("operation not permitted when stream is capturing")
    for _ in range(2):
        restore_tensor(network, image, SPEC, TILES, on_notice=told.append)
    assert told[-1] == (
        "no CUDA graph for 4 x 32x32 pixels (operation not permitted when stream is capturing); "
        "running without one"
    )
    compute, given_back = network.forward, []
    gpu.on_empty_cache = lambda: given_back.append(True)

    def hungry(x):
        if len(x) > 2:
            raise OUT_OF_MEMORY
        return compute(x)

    network.forward = hungry
    assert torch.equal(restore_tensor(network, image, SPEC, TILES), plain[TILES])
    assert given_back == [True]


NO_ENGINE = RuntimeError("GET was unable to find an engine to execute this computation")


@pytest.mark.usefixtures("gpu")
def test_a_library_that_finds_no_room_for_its_workspace_gets_less_to_do(image, plain):
    network, compute = Network(), Network.forward

    def without_workspace(x):
        if len(x) > 4:
            raise NO_ENGINE
        return compute(network, x)

    network.forward = without_workspace
    options, told = RestoreOptions(tile=32, overlap=8), []
    with pytest.MonkeyPatch.context() as roomy:
        roomy.setattr(memory, "available_memory", lambda _: 10**9)
        restored = restore_tensor(network, image, SPEC, options, on_notice=told.append)
    assert torch.equal(restored, plain[TILES])
    assert told[1] == "memory ran out; trying 8 tiles of 32x32, 4 together"


@pytest.mark.usefixtures("gpu")
def test_a_library_that_cannot_do_the_smallest_tile_says_so_itself(image):
    network = Network()

    def never(_):
        raise NO_ENGINE

    network.forward = never
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        restore_tensor(network, image, SPEC, TILES)


def test_nothing_of_a_failed_try_is_alive_when_the_cache_is_emptied(gpu, short_memory, image):
    alive = []
    for at in (2, 7, 20):
        network = Network()
        kept = restore_tensor(network, image, SPEC, TILES).shape
        mode = short_memory(-1, OUT_OF_MEMORY)

        def empty_cache(mode=mode):
            gc.collect()
            alive.append(len(mode.alive()))

        gpu.on_empty_cache = empty_cache

        def start(_, __, mode=mode, at=at):
            if mode.at < 0:
                mode.made.clear()
                mode.at = mode.count + at

        with mode:
            restored = restore_tensor(network, image, SPEC, TILES, start)
        assert restored.shape == kept
    assert alive == [0, 0, 0]


@pytest.mark.usefixtures("gpu")
def test_memory_that_is_never_enough_fails_one_image_and_not_the_next(image, plain):
    network, enough = Network(), False
    compute = network.forward

    def forward(x):
        restored = compute(x)
        if not enough:
            raise OUT_OF_MEMORY
        return restored

    network.forward = forward
    with pytest.raises(
        MemoryLimitError, match=r"^memory ran out on cpu even with 8 tiles of 32x32$"
    ):
        restore_tensor(network, image, SPEC, TILES)
    assert [shape[0] for shape in network.shapes] == [4, 2, 1]
    enough = True
    assert torch.equal(restore_tensor(network, image, SPEC, TILES), plain[TILES])


def test_a_graph_that_cannot_be_recorded_is_said_and_the_shape_runs_eagerly(gpu, image, plain):
    gpu.fault = RuntimeError("operation not permitted when stream is capturing\nmore about it")
    network, told = Network(), []
    for _ in range(4):
        restored = restore_tensor(network, image, SPEC, TILES, on_notice=told.append)
        assert torch.equal(restored, plain[TILES])
    reason = "operation not permitted when stream is capturing"
    assert [notice for notice in told if not notice.startswith("running")] == [
        f"no CUDA graph for 4 x 32x32 pixels ({reason}); running without one"
    ]
    assert len(gpu.pools) == 1
    assert not gpu.replays


@pytest.mark.usefixtures("gpu")
def test_a_result_that_has_no_room_is_said_before_the_work(short_memory, image):
    network = Network()
    message = "the result, 200x100 pixels, needs less than 1 MiB of memory on cpu"
    with (
        pytest.raises(MemoryLimitError, match=f"^{message}$"),
        short_memory(0, RuntimeError("DefaultCPUAllocator: not enough memory")),
    ):
        restore_tensor(network, image, SPEC, TILES)
    assert not network.shapes


@pytest.mark.usefixtures("gpu")
def test_other_errors_pass_through(short_memory, image):
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        run_short(short_memory, 9, image, TILES, error=RuntimeError("a bug"))


def test_an_image_on_the_gpu_stays_there(gpu, image, plain, monkeypatch):
    monkeypatch.setattr("mambair_cli.restoration.engine.overlapped", None)
    elsewhere = type("Elsewhere", (), {"type": "cuda"})()
    engine_stream = Engine.stream

    def stream(self, batches, plan, _):
        return engine_stream(self, batches, plan, elsewhere)

    monkeypatch.setattr(Engine, "stream", stream)
    assert torch.equal(restore_tensor(Network(), image, SPEC, TILES), plain[TILES])
    assert not gpu.transfers


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("options", [RestoreOptions(tile=0), TILES, ENSEMBLE])
def test_images_of_one_size_fill_batches_before_sequences_are_cut(on_a_cpu, options):
    images = torch.rand(6, 3, 32, 28, generator=torch.Generator().manual_seed(3))
    network, told = Network(), []
    restored = restore_tensor(network, images, SPEC, options, lambda *tiles: told.append(tiles))
    assert {shape[0] for shape in network.shapes} == ({4} if options.ensemble else {3})
    assert told[-1] == (6, 6)
    for image, result in zip(images, restored, strict=True):
        torch.testing.assert_close(result[None], on_a_cpu(image[None], options))


@pytest.mark.usefixtures("gpu")
def test_images_whose_memory_runs_out_together_keep_what_is_done(on_a_cpu, monkeypatch):
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    network, told, forward = Network(), [], Network.forward

    def short(self, x):
        if len(x) > 2 and len(self.shapes) == 1:
            raise OUT_OF_MEMORY
        return forward(self, x)

    monkeypatch.setattr(Network, "forward", short)
    restored = restore_tensor(network, images, SPEC, RestoreOptions(tile=0), on_notice=told.append)
    assert any(notice.startswith("memory ran out") for notice in told)
    for image, result in zip(images, restored, strict=True):
        torch.testing.assert_close(result[None], on_a_cpu(image[None], RestoreOptions(tile=0)))
