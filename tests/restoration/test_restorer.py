import re
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mambair_cli.errors import BackendError, MemoryLimitError, UsageError
from mambair_cli.imaging.image import RestorableImage, ValueRange
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.device import precision
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.footprint import bytes_per_pixel
from mambair_cli.restoration.memory.tile_size import PLANNED_SHARE
from mambair_cli.restoration.restorer import RestoreOptions, restore_image, restore_tensor

WHOLE = RestoreOptions(tile=0)


def spec(scale=1, channels=3):
    return ModelSpec("stub", "sr", scale, channels)


class Stub(nn.Module):
    """Nearest-neighbour enlargement of `function(x)`; notes the shape of everything it is given."""

    def __init__(self, scale=1, function=lambda x: x):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))
        self.scale, self.function, self.shapes = scale, function, []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return functional.interpolate(self.function(x), scale_factor=self.scale)


class Hungry(Stub):
    """Runs out of memory above a number of pixels, batch included."""

    def __init__(self, limit, error, **arguments):
        super().__init__(**arguments)
        self.limit, self.error = limit, error

    def forward(self, x):
        enlarged = super().forward(x)
        if x.shape[0] * x.shape[2] * x.shape[3] > self.limit:
            raise self.error
        return enlarged


def pixels(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_whole_image_is_one_run_of_the_network(scale):
    network, x = Stub(scale), torch.rand(1, 3, 21, 34)
    restored = restore_tensor(network, x, spec(scale), WHOLE)
    assert network.shapes == [(1, 3, 21, 34)]
    assert torch.equal(restored, functional.interpolate(x, scale_factor=scale))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9), (3, 2)])
@pytest.mark.parametrize("options", [WHOLE, RestoreOptions(tile=64, overlap=16, ensemble=True)])
def test_any_size_works(size, options):
    x = torch.rand(1, 3, *size)
    restored = restore_tensor(Stub(2), x, spec(2), options)
    torch.testing.assert_close(restored, functional.interpolate(x, scale_factor=2))


def test_a_real_network_tiled_and_whole_agree_closely():
    torch.manual_seed(0)
    network = build_network(MambaIRConfig(upscale=2, embed_dim=16, d_state=2, depths=(1,)))
    x = functional.interpolate(torch.rand(1, 3, 6, 9), size=(40, 70), mode="bicubic").clamp(0, 1)
    whole = restore_tensor(network, x, spec(2), WHOLE)
    tiled = restore_tensor(network, x, spec(2), RestoreOptions(tile=40, overlap=16))
    assert tiled.shape == whole.shape == (1, 3, 80, 140)
    assert (tiled - whole).abs().mean() < 0.05 * whole.std()


def test_only_tiles_reach_the_network_when_a_tile_is_set():
    network = Stub(2)
    restore_tensor(
        network,
        torch.rand(1, 3, 120, 150),
        spec(2),
        RestoreOptions(tile=48, ensemble=True, overlap=8),
    )
    assert max(max(shape[2:]) for shape in network.shapes) <= 48


def test_result_is_clamped_and_an_ordinary_tensor():
    restored = restore_tensor(
        Stub(function=lambda x: 3 * x - 1), torch.rand(1, 3, 9, 8), spec(), WHOLE
    )
    assert restored.min() == 0
    assert restored.max() == 1
    assert not restored.is_inference()
    assert not restored.requires_grad


def test_progress_counts_tiles():
    seen = []
    restore_tensor(
        Stub(),
        torch.rand(1, 3, 60, 90),
        spec(),
        RestoreOptions(tile=40, overlap=8),
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 6) for done in range(7)]


def test_bf16_runs_inside_and_float32_comes_out(monkeypatch):
    dtypes = []
    convolution = nn.Conv2d(3, 3, 1)

    def function(x):
        dtypes.append(convolution(x).dtype)
        return x

    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: True)
    options = RestoreOptions(precision="bf16")
    restored = restore_tensor(Stub(function=function), torch.rand(1, 3, 9, 8), spec(), options)
    assert dtypes == [torch.bfloat16]
    assert restored.dtype == torch.float32


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"^the image has 1 channels, stub takes 3$"):
        restore_tensor(Stub(), torch.rand(1, 1, 9, 8), spec(), WHOLE)


def test_values_that_are_not_numbers_are_an_error():
    message = "the network's output in fp32 holds values that are not numbers"
    with pytest.raises(BackendError, match=f"^{re.escape(message)}$") as caught:
        restore_tensor(Stub(function=torch.log), torch.zeros(1, 3, 9, 8), spec(), WHOLE)
    assert caught.value.hint.startswith("use --precision fp32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 5}, "tile 5 is too small: the least is 16 pixels"),
        ({"tile": 40, "overlap": 32}, "overlap 32 is more than half of tile 40"),
        ({"overlap": -2}, "overlap -2 is negative"),
    ],
)
def test_options_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        RestoreOptions(**arguments)


@pytest.mark.parametrize(
    ("arguments", "tile", "overlap"),
    [
        ({"tile": 40}, 40, 10),
        ({"tile": 500}, 500, 32),
        ({"tile": 64, "overlap": 32}, 64, 32),
        ({"tile": 500, "overlap": 0}, 500, 0),
        ({"overlap": 90}, 64, 16),
        ({"overlap": 90}, 1024, 90),
        ({}, 1024, 32),
    ],
)
def test_overlap_gives_way_where_the_user_did_not_choose_both(arguments, tile, overlap):
    assert RestoreOptions(**arguments).overlap_of(tile) == overlap


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_short_memory_leads_to_smaller_tiles_and_the_same_result(error):
    x = torch.rand(1, 3, 200, 300)
    network = Hungry(100 * 100, error, scale=2)
    restored = restore_tensor(network, x, spec(2), RestoreOptions())
    torch.testing.assert_close(restored, functional.interpolate(x, scale_factor=2))
    tried = list(dict.fromkeys(shape[2] * shape[3] for shape in network.shapes))
    assert tried == sorted(tried, reverse=True)


def test_the_working_tile_is_remembered_for_the_next_image():
    network = Hungry(100 * 100, MemoryError())
    x = torch.rand(1, 3, 200, 300)
    restore_tensor(network, x, spec(), RestoreOptions())
    network.shapes.clear()
    restore_tensor(network, x, spec(), RestoreOptions())
    assert max(shape[2] * shape[3] for shape in network.shapes) <= 100 * 100


def test_fewer_ensemble_members_at_a_time_come_before_smaller_tiles():
    network = Hungry(200 * 300, MemoryError())
    x = torch.rand(1, 3, 200, 300)
    restored = restore_tensor(network, x, spec(), RestoreOptions(ensemble=True))
    torch.testing.assert_close(restored, x)
    assert [shape[0] for shape in network.shapes] == [4, 2] + [1] * 8
    assert {shape[2:] for shape in network.shapes} == {(200, 300), (300, 200)}


def test_progress_starts_again_after_a_retry():
    seen = []
    restore_tensor(
        Hungry(100 * 100, MemoryError()),
        torch.rand(1, 3, 100, 180),
        spec(),
        RestoreOptions(),
        lambda done, total: seen.append((done, total)),
    )
    assert seen[0] == (0, 1)
    total = seen[-1][1]
    assert seen[-(total + 1) :] == [(done, total) for done in range(total + 1)]


def test_a_plain_run_is_not_tried_twice_at_one_size():
    network = Hungry(100 * 100, MemoryError())
    restore_tensor(network, torch.rand(1, 3, 200, 300), spec(), RestoreOptions())
    assert [shape[2:] for shape in network.shapes].count((200, 300)) == 1


def test_memory_that_is_never_enough_ends_with_an_error_after_few_tries():
    network = Hungry(0, MemoryError())
    message = "memory ran out on cpu even with 84 tiles of 64x64"
    with pytest.raises(MemoryLimitError, match=f"^{message}$") as caught:
        restore_tensor(network, torch.rand(1, 3, 200, 1000), spec(), RestoreOptions())
    assert caught.value.hint
    assert len(network.shapes) <= 6


def test_nothing_of_a_failed_attempt_is_alive_at_the_retry():
    held = []

    class Holding(Stub):
        def forward(self, x):
            if held:
                assert held[0]() is None
                return super().forward(x)
            large = torch.zeros(100)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError

    restore_tensor(Holding(), torch.rand(1, 3, 100, 180), spec(), RestoreOptions())
    assert held


def test_other_errors_pass_through_and_leave_nothing_for_the_next_image():
    calls = 0

    def function(x):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("a bug")
        return x

    network, options = Stub(function=function), RestoreOptions(tile=40, overlap=8)
    with pytest.raises(RuntimeError, match="a bug"):
        restore_tensor(network, torch.zeros(1, 3, 60, 90), spec(), options)
    x = torch.rand(1, 3, 60, 90)
    torch.testing.assert_close(restore_tensor(network, x, spec(), options), x)


def test_auto_plans_tiles_from_the_memory_that_there_is(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda _: 300 * 2**20)
    network = Stub()
    network.config = MambaIRConfig(embed_dim=180, d_state=16, mlp_ratio=2.0)
    restore_tensor(network, torch.rand(1, 3, 300, 400), spec(), RestoreOptions())
    sides = {shape[2:] for shape in network.shapes}
    assert len(sides) == 1
    (height, width) = sides.pop()
    per_pixel = bytes_per_pixel(network.config, "fp32")
    assert 64 * 64 <= height * width <= PLANNED_SHARE * 300 * 2**20 / per_pixel


def test_auto_fails_when_not_even_a_small_tile_fits(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda _: 2**20)
    with pytest.raises(MemoryLimitError, match="the smallest tile needs"):
        restore_tensor(Stub(), torch.rand(1, 3, 300, 400), spec(), RestoreOptions())


def invert(x):
    return 1 - x


def test_colour_through_a_colour_network():
    image = RestorableImage(pixels(11, 17), metadata=Metadata(dpi=(72, 72)))
    restored = restore_image(Stub(2, invert), image, spec(2), WHOLE)
    np.testing.assert_array_equal(restored.pixels, 255 - image.pixels.repeat(2, 0).repeat(2, 1))
    assert restored.alpha is None
    assert restored.metadata == image.metadata


def test_gray_through_a_colour_network_stays_gray():
    channel_gains = torch.tensor([0.5, 0.75, 1.0]).view(1, 3, 1, 1)
    image = RestorableImage(pixels(11, 17, 1))
    restored = restore_image(Stub(function=lambda x: x * channel_gains), image, spec(), WHOLE)
    assert restored.pixels.shape == (11, 17, 1)
    np.testing.assert_allclose(restored.pixels, image.pixels * 0.75, atol=0.5001)


def test_gray_through_a_gray_network():
    image = RestorableImage(pixels(11, 17, 1))
    restored = restore_image(Stub(2, invert), image, spec(2, 1), WHOLE)
    np.testing.assert_array_equal(restored.pixels, 255 - image.pixels.repeat(2, 0).repeat(2, 1))


def test_colour_through_a_gray_network_keeps_its_colours_exactly():
    network = Stub()
    image = RestorableImage(pixels(11, 17))
    restored = restore_image(network, image, spec(1, 1), WHOLE)
    assert network.shapes == [(1, 1, 11, 17)]
    np.testing.assert_array_equal(restored.pixels, image.pixels)


def test_colour_through_a_gray_network_changes_luma_only():
    image = RestorableImage((pixels(11, 17) // 4 + 90).astype(np.uint8))
    restored = restore_image(Stub(function=lambda x: x + 0.1), image, spec(1, 1), WHOLE)
    change = restored.pixels.astype(int) - image.pixels
    assert set(np.unique(change)) <= {25, 26}


def test_colour_through_an_enlarging_gray_network():
    image = RestorableImage(pixels(11, 17))
    assert restore_image(Stub(2), image, spec(2, 1), WHOLE).pixels.shape == (22, 34, 3)


def test_a_dark_16_bit_ramp_keeps_its_levels():
    ramp = np.tile(np.arange(1000, dtype=np.uint16), (9, 1))[..., None]
    restored = restore_image(Stub(function=lambda x: x * 1.5), RestorableImage(ramp), spec(), WHOLE)
    assert restored.pixels.dtype == np.uint16
    assert len(np.unique(restored.pixels)) == 1000
    assert np.abs(restored.pixels - ramp * 1.5).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("image_channels", "channels"), [(3, 3), (1, 3), (3, 1), (1, 1)])
def test_a_network_that_changes_nothing_changes_nothing(dtype, image_channels, channels):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    values = np.random.default_rng(0).uniform(0.1, 1, (11, 17, image_channels + 1)) * white
    values = values.astype(dtype)
    image = RestorableImage(values[..., :-1], values[..., -1])
    restored = restore_image(Stub(), image, spec(1, channels), WHOLE)
    assert restored.pixels.dtype == restored.alpha.dtype == dtype
    tolerance = 0 if dtype != np.float32 else 1e-6
    np.testing.assert_allclose(restored.pixels, image.pixels, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(restored.alpha, image.alpha)


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_beyond_zero_and_one_is_shown_within_and_comes_back(channels):
    seen = []

    def function(x):
        seen.append((x.min().item(), x.max().item()))
        return x

    values = np.linspace(-2, 6, 9 * 8 * 3, dtype=np.float32).reshape(9, 8, 3)
    image = RestorableImage(values, span=ValueRange(-2, 6))
    restored = restore_image(Stub(function=function), image, spec(1, channels), WHOLE)
    np.testing.assert_allclose(restored.pixels, values, atol=2e-6)
    assert restored.span == image.span
    assert all(0 <= low < 0.01 and 0.99 < high <= 1 for low, high in seen)


def test_constant_opacity_is_copied():
    image = RestorableImage(pixels(11, 17), np.full((11, 17), 77, np.uint8))
    restored = restore_image(Stub(2), image, spec(2), WHOLE)
    np.testing.assert_array_equal(restored.alpha, np.full((22, 34), 77))


def test_opacity_is_never_denoised():
    alpha = pixels(11, 17, 1)[..., 0]
    restored = restore_image(
        Stub(function=torch.zeros_like), RestorableImage(pixels(11, 17), alpha), spec(), WHOLE
    )
    np.testing.assert_array_equal(restored.alpha, alpha)


def test_binary_opacity_stays_binary():
    alpha = np.where(pixels(11, 17, 1)[..., 0] > 99, 255, 0).astype(np.uint8)
    restored = restore_image(Stub(3), RestorableImage(pixels(11, 17), alpha), spec(3), WHOLE)
    assert restored.alpha.shape == (33, 51)
    assert set(np.unique(restored.alpha)) == {0, 255}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_sees_the_visible_colours_continued(channels):
    seen = []
    picture = np.full((12, 20, channels), 200, np.uint8)
    alpha = np.full((12, 20), 255, np.uint8)
    picture[:, :8] = 0
    alpha[:, :8] = 0

    def function(x):
        seen.append(x)
        return x

    restore_image(Stub(function=function), RestorableImage(picture, alpha), spec(), WHOLE)
    torch.testing.assert_close(seen[0], torch.full((1, 3, 12, 20), 200 / 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2])
def test_values_a_little_outside_are_shown_as_they_are_and_a_few_far_outside_move_nothing(
    channels, scale
):
    seen = []

    def function(x):
        seen.append((x.min().item(), x.max().item()))
        return x

    values = np.linspace(-0.5, 1.5, 19 * 28 * 3, dtype=np.float32).reshape(19, 28, 3)
    values[2, 3] = 100
    span = ValueRange(-0.5, 1.75)
    network = Stub(scale, function)
    restored = restore_image(
        network, RestorableImage(values, span=span), spec(scale, channels), WHOLE
    ).pixels
    assert seen[0][0] == pytest.approx(-0.5, abs=0.01)
    assert seen[0][1] == pytest.approx(1.75, abs=0.01)
    values[2, 3] = 1.75
    plain = restore_image(
        network, RestorableImage(values, span=span), spec(scale, channels), WHOLE
    ).pixels
    np.testing.assert_array_equal(restored[6 * scale :], plain[6 * scale :])
    assert restored[2 * scale, 3 * scale].min() > 50
    if scale == 1:
        np.testing.assert_allclose(plain, values, atol=2e-6)
        np.testing.assert_allclose(restored[2, 3], 100, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("image_channels", "channels"), [(3, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("scale", [1, 2])
def test_strength_blends_and_is_exact_at_both_ends(dtype, image_channels, channels, scale):
    generator = np.random.default_rng(2)
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels = (generator.random((31, 22, image_channels)) * white).astype(dtype)
    alpha = (generator.integers(0, 3, (31, 22)) * (white / 2)).astype(dtype)
    image = RestorableImage(pixels, alpha if scale == 1 else None)

    def restored(**options):
        chosen = RestoreOptions(tile=16, overlap=4, **options)
        network = Stub(scale, lambda x: 1 - x)
        return restore_image(network, image, spec(scale, channels), chosen).pixels

    without, full, none = restored(), restored(strength=1), restored(strength=0)
    np.testing.assert_array_equal(full, without)
    np.testing.assert_array_equal(none, pixels if scale == 1 else imresize(pixels, scale))
    half = none.astype(np.float64) + (full.astype(np.float64) - none) / 2
    step = 1e-6 if dtype is np.float32 else 0.5
    assert np.abs(restored(strength=0.5) - half).max() <= step


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_strength_that_cannot_be_is_refused(strength):
    with pytest.raises(UsageError, match="lies not between 0 and 1"):
        RestoreOptions(strength=strength)
