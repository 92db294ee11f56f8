"""The Triton scan against its definition in float64: interpreted on a CPU, compiled on a GPU."""

from __future__ import annotations

import ast
import mmap
import sys
from itertools import product
from subprocess import CalledProcessError

import pytest
import torch
from scan_cases import NAMES, scan_inputs, strided, values_and_gradients

pytest.importorskip("triton")

from triton.compiler.errors import CompilationError

from mambair_cli.errors import BackendError
from mambair_cli.kernels.scan import (
    reference,
    triton_backward,
    triton_division,
    triton_forward,
    triton_gpu,
)
from mambair_cli.kernels.scan.triton_division import Division, Processor, divide

H200 = Processor(132, 32, limits_registers=True)

# b, h, w, d, n, r, and k where it is not 4: the interpreter takes some milliseconds for each token
# of each direction
SHAPES = [
    (1, 1, 1, 7, 1, 1),
    (1, 1, 5, 16, 5, 1),
    (1, 5, 1, 20, 6, 3),
    (2, 1, 2, 5, 10, 4),
    (1, 2, 3, 40, 16, 12),
    (2, 1, 7, 40, 5, 3, 1),
]

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    """Cut even the smallest sequences, or only one chunk would ever be tested."""
    monkeypatch.setattr(triton_division, "SHORTEST_CHUNK", 2)
    divide.cache_clear()
    yield
    divide.cache_clear()


def inputs_on(device, *shape):
    return [tensor.to(device) for tensor in scan_inputs(*shape)]


def summed(*inputs):
    return triton_gpu.selective_scan_2d(*inputs).sum(0, dtype=torch.float32)


def compare(inputs, measure, tolerance=1e-5):
    upstream = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
    actual = values_and_gradients(summed, inputs, upstream)
    exact = [tensor.cpu().double() for tensor in inputs]
    expected = values_and_gradients(reference.selective_scan_2d, exact, upstream)
    for name, own, right in zip(("y", *NAMES), actual, expected, strict=True):
        # One token has no past, hence A no gradient.
        assert measure(own.cpu(), right) < tolerance or not (own.any() or right.any()), name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_agree_with_the_definition(shape, kernel_device, relative_rms):
    compare(inputs_on(kernel_device, *shape), relative_rms)


@pytest.mark.parametrize("length", [2, pytest.param(4, marks=pytest.mark.slow), 8])
def test_the_cut_does_not_matter(length, kernel_device, relative_rms, monkeypatch):
    inputs = inputs_on(kernel_device, 1, 5, 1, 9, 3, 2)
    division = Division(block=32, warps=1, blocks=1, length=length, chunks=-(-5 // length))
    monkeypatch.setattr(triton_gpu, "divide", lambda *_: division)
    compare(inputs, relative_rms)


def test_gradients_come_in_groups_of_rows(kernel_device, relative_rms, monkeypatch):
    monkeypatch.setattr(triton_gpu, "HISTORY_BYTES", 3 * 4 * 2 * 2 * 5)
    compare(inputs_on(kernel_device, 2, 1, 2, 5, 2, 1), relative_rms)


def test_every_plane_may_have_its_own_gradient(kernel_device, relative_rms):
    inputs = inputs_on(kernel_device, 1, 1, 3, 5, 2, 1)
    upstream = torch.randn(4, 1, 1, 3, 5, generator=torch.Generator().manual_seed(2))
    own = values_and_gradients(triton_gpu.selective_scan_2d, inputs, upstream)
    repeated = [tensor.cpu().double() for tensor in inputs]
    expected = values_and_gradients(planes_by_definition, repeated, upstream)
    for actual, right in zip(own, expected, strict=True):
        assert relative_rms(actual.cpu(), right) < 1e-5


def planes_by_definition(u, projected, *parameters):
    """The scan with all but one direction silenced, for each direction."""
    n, r = parameters[2].shape[-1], parameters[0].shape[-1]
    planes = []
    for k in range(4):
        kept = torch.zeros(4, dtype=u.dtype)
        kept[k] = 1
        ones = torch.cat([torch.ones(r + n), torch.zeros(n)]).to(u)
        mask = torch.where(kept[:, None].bool(), torch.ones(r + 2 * n).to(u), ones).flatten()
        D = parameters[3] * kept[:, None]
        planes.append(reference.selective_scan_2d(u, projected * mask, *parameters[:3], D))
    return torch.stack(planes)


@pytest.mark.skipif(sys.platform != "linux", reason="memory that is taken only where it is touched")
def test_planes_may_lie_further_apart_than_32_bits_count():
    _, projected, weight, bias, A, _ = scan_inputs(1, 1, 4, 5, 2, 1)
    dy = torch.randn(4, 4, 5).bfloat16()
    plane_stride = 2**30
    # Of Linux: MAP_NORESERVE.
    room = mmap.mmap(-1, 2 * (3 * plane_stride + 20), flags=mmap.MAP_PRIVATE | 0x4000)
    apart = torch.frombuffer(room, dtype=torch.bfloat16)
    adjoints = []
    for place, stride in ((dy, 20), (apart, plane_stride)):
        for k in range(4):
            place.flatten()[k * stride : k * stride + 20] = dy[k].flatten()
        found = torch.zeros(4, 2, 2, 5), torch.zeros(4, 2, 5)
        parameters = (triton_gpu.channels_last(tensor) for tensor in (weight, bias, A))
        triton_backward.adjoint_chunks[1, 1, 4](
            place, projected, *parameters, *found, stride, 1, 4, 5, 2, 2,
            **triton_gpu.block_sizes(A, weight), BLOCK=32,
        )  # fmt: skip
        adjoints.append(found[0])
    assert adjoints[0].any()
    assert torch.equal(*adjoints)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_have_a_float32_state(dtype, kernel_device, relative_rms):
    inputs = inputs_on(kernel_device, 1, 2, 5, 9, 4, 2)
    inputs[:2] = [tensor.to(dtype) for tensor in inputs[:2]]
    planes = triton_gpu.selective_scan_2d(*inputs)
    assert planes.dtype == dtype
    expected = reference.selective_scan_2d(*(tensor.cpu().double() for tensor in inputs))
    # What is left is the rounding of the four planes.
    assert relative_rms(planes.float().sum(0).cpu(), expected) < torch.finfo(dtype).eps


def test_projected_may_be_finer_than_the_input(kernel_device, relative_rms):
    inputs = inputs_on(kernel_device, 1, 2, 2, 6, 2, 1)
    inputs[0] = inputs[0].bfloat16()
    planes = triton_gpu.selective_scan_2d(*inputs)
    expected = reference.selective_scan_2d(*(tensor.cpu().double() for tensor in inputs))
    assert relative_rms(planes.float().sum(0).cpu(), expected) < 2**-8


def test_double_precision_is_computed_in_single(kernel_device):
    inputs = inputs_on(kernel_device, 1, 1, 2, 3, 1, 1)
    planes = triton_gpu.selective_scan_2d(*(tensor.double() for tensor in inputs))
    assert torch.equal(planes, triton_gpu.selective_scan_2d(*inputs))


@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_extreme_steps_stay_finite_and_right(scale, kernel_device, relative_rms):
    inputs = inputs_on(kernel_device, 1, 3, 1, 20, 4, 2)
    inputs[2] *= scale
    inputs[3] = torch.linspace(-60, 60, 80, device=kernel_device).view(4, 20)
    compare(inputs, relative_rms, tolerance=3e-5)


def test_inputs_need_not_be_contiguous(kernel_device):
    inputs = inputs_on(kernel_device, 1, 1, 3, 6, 2, 2)
    upstream = torch.randn(1, 3, 6, 1).permute(3, 0, 1, 2)
    actual = values_and_gradients(summed, strided(inputs), upstream)
    expected = values_and_gradients(summed, inputs, upstream.contiguous())
    for own, other in zip(actual, expected, strict=True):
        assert torch.equal(own, other)


def test_one_input_alone_may_want_its_gradient(kernel_device):
    inputs = inputs_on(kernel_device, 1, 2, 1, 4, 2, 1)
    upstream = torch.ones_like(inputs[0])
    expected = values_and_gradients(summed, inputs, upstream)
    inputs[4].requires_grad_()
    summed(*inputs).backward(upstream)
    assert torch.equal(inputs[4].grad, expected[5])
    assert all(tensor.grad is None for tensor in inputs if tensor is not inputs[4])


def test_frozen_parameters_are_laid_out_once_and_again_when_they_change(kernel_device):
    inputs = inputs_on(kernel_device, 1, 1, 3, 4, 2, 1)
    first = summed(*inputs)
    with torch.no_grad():
        inputs[4] *= 2
    assert not torch.equal(summed(*inputs), first)
    assert torch.equal(summed(*inputs), summed(*(tensor.clone() for tensor in inputs)))


def test_every_token_is_in_one_chunk_and_every_channel_in_one_block():
    wrong = []
    for images, tokens, channels in product(
        (1, 2, 16, 64), (1, 2, 63, 64, 65, 4096, 57600), (1, 72, 360, 768)
    ):
        cut = divide(4 * images, tokens, channels, 16, 12, H200)
        if not (
            (cut.chunks - 1) * cut.length < tokens <= cut.chunks * cut.length
            and (cut.blocks - 1) * cut.block < channels <= cut.blocks * cut.block
            and cut.length % 2 == 0
            and cut.block in (cut.warps * 32, cut.warps * 64)
        ):
            wrong.append((images, tokens, channels, cut))
    assert not wrong


# Images, height, width, channels, states: chunks, and warps on each multiprocessor.
CUTS = {
    "classic x4, 320x180": ((4, 180 * 320, 360, 16, 12), 44, 8),
    "light x4, 320x180": ((4, 180 * 320, 72, 10, 4), 88, 8),
    "classic x4, a tile of 64x64": ((4, 64 * 64, 360, 16, 12), 44, 8),
    "classic x4, 4 tiles of 256x256": ((4 * 4, 256 * 256, 360, 16, 12), 11, 8),
    "classic x4, 44 images": ((4 * 44, 180 * 320, 360, 16, 12), 1, 8),
    "denoise, 1280x720": ((4, 720 * 1280, 216, 16, 12), 75, 16),
}


@pytest.mark.parametrize("name", CUTS)
def test_whole_warps_share_each_scheduler_in_whole_waves(name, monkeypatch):
    monkeypatch.undo()
    divide.cache_clear()
    work, chunks, warps = CUTS[name]
    cut = divide(*work, H200)
    assert cut.chunks == chunks
    programs = -(-cut.chunks * cut.blocks * work[0] // H200.multiprocessors)
    assert programs * cut.warps == warps
    assert programs * cut.warps % triton_division.SCHEDULERS == 0
    assert cut.registers * 32 * warps <= triton_division.REGISTERS


def test_few_sequences_are_cut_and_many_are_not(monkeypatch):
    monkeypatch.undo()
    divide.cache_clear()
    tile = divide(4, 64 * 64, 360, 16, 12, H200)
    full = 132 * triton_division.SCHEDULERS * triton_division.BUSY_WARPS
    assert tile.chunks * tile.blocks * tile.warps * 4 > 0.7 * full
    assert tile.length >= triton_division.SHORTEST_CHUNK
    assert divide(4 * 64, 64 * 64, 360, 16, 12, H200).chunks == 1
    # No more lanes are idle than whole warps leave.
    assert divide(4, 64 * 64, 72, 10, 4, H200).blocks * 32 == 96


def test_a_batch_is_filled_before_its_sequences_are_cut(monkeypatch):
    monkeypatch.undo()
    divide.cache_clear()
    chunks = [divide(4 * images, 64 * 64, 360, 16, 12, H200).chunks for images in (1, 4, 16, 44)]
    assert chunks[0] > max(chunks[1:3]) > chunks[3] == 1


# States, rank, channels of a lane, most registers: published networks, and sizes of users' own.
LANES = [
    (16, 12, 2, 168),  # classic
    (16, 24, 2, None),  # U-Net, fourth level
    (20, 12, 1, None),
    (24, 12, 1, None),
    (64, 12, 1, None),
    (16, 48, 1, None),
]


@pytest.mark.parametrize(("states", "rank", "channels", "registers"), LANES)
def test_what_a_lane_cannot_hold_leaves_it_one_channel(states, rank, channels, registers):
    cut = divide(4, 180 * 320, 384, states, rank, H200)
    assert cut.block == cut.warps * 32 * channels
    assert cut.registers == registers


@pytest.mark.parametrize(
    ("channels", "states", "rank", "of_a_lane"),
    [
        (360, 16, 12, 2),  # classic
        (216, 16, 12, 2),  # denoise
        (288, 16, 12, 2),  # U-Net, third level
        (576, 16, 24, 2),  # fourth
        (72, 10, 4, 2),  # light
        (32, 16, 12, 1),
        (360, 24, 12, 1),
    ],
)
def test_gradients_are_of_single_warps_with_two_channels_a_lane_where_that_is_less_work(
    channels, states, rank, of_a_lane
):
    cut = divide(4, 64 * 64, channels, states, rank, H200, triton_division.ONE_WARP)
    assert (cut.warps, cut.block) == (1, 32 * of_a_lane)
    assert cut.blocks == -(-channels // cut.block)


@pytest.mark.parametrize(
    ("channels", "states", "rank", "registers"),
    [(216, 16, 12, 128), (72, 10, 4, 128), (348, 16, 22, 168)],  # denoise, light, v2 base
)
def test_one_channel_of_a_lane_leaves_room_for_more_warps(channels, states, rank, registers):
    cut = divide(4, 180 * 320, channels, states, rank, H200)
    assert cut.block == cut.warps * 32
    assert cut.registers == registers


def test_only_nvidia_s_compiler_is_told_how_many_registers_to_take():
    assert divide(4, 64 * 64, 360, 16, 12, Processor(304, 64)).registers is None
    assert divide(4, 64 * 64, 360, 16, 12, H200).registers == 168


@pytest.mark.parametrize(
    "error",
    [
        CompilationError("", ast.parse("x").body[0], "unsupported tensor index"),
        FileNotFoundError(2, "No such file or directory", "gcc"),
        CalledProcessError(1, ["gcc"]),
        AssertionError("libcuda.so cannot found!"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_kernel_that_cannot_be_compiled_is_no_fault_of_an_image(error, monkeypatch):
    class Uncompiled:
        def __getitem__(self, _):
            def fails(*_, **__):
                raise error

            return fails

    monkeypatch.setattr(triton_forward, "scan_chunks", Uncompiled())
    with pytest.raises(BackendError, match=r"^a kernel of scan backend 'triton' cannot be") as said:
        summed(*scan_inputs(1, 1, 3, 4, 2, 1))
    assert type(error).__name__ in said.value.message
    assert "--scan torch" in said.value.hint


def test_it_says_why_it_refuses(monkeypatch):
    mps = torch.device("mps")
    assert triton_gpu.refuses(mps) == "it runs on CUDA, ROCm and XPU devices, not on mps"
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    cpu = torch.device("cpu")
    assert triton_gpu.refuses(cpu) == "it runs on CUDA, ROCm and XPU devices, not on cpu"
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "triton cannot be imported" in triton_gpu.refuses(torch.device("cuda", 0))
