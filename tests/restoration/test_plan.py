from dataclasses import replace

import pytest

from mambair_cli.errors import MemoryLimitError
from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config, ModelSpec
from mambair_cli.restoration.memory.footprint import widest
from mambair_cli.restoration.memory.tile_size import PLANNED_SHARE
from mambair_cli.restoration.plan import LARGEST_TENSOR, Limits, RestoreOptions, attempts

PER_PIXEL = 1000
AUTO, ENSEMBLE = RestoreOptions(), RestoreOptions(ensemble=True)


def limits(pixels, *, gpu=True, most=None, known=None):
    """Room for so many pixels at a time."""
    available = round((pixels * PER_PIXEL + 9) / PLANNED_SHARE)
    return Limits(PER_PIXEL, available, gpu, gpu, most, known)


# Large photographs, video, panoramas and slides, with and without tiles of one's own.
SIDES = [(3000, 4000), (1080, 1920), (2160, 3840), (1000, 30_000), (9000, 9000), (300, 400)]
LIMITING = {  # pixels
    "classic x4": (MambaIRConfig(4, 3, 1, 180, 16, (6,) * 6, 2.0, "pixelshuffle"), 1_491_308),
    "classic x8": (MambaIRConfig(8, 3, 1, 180, 16, (6,) * 6, 2.0, "pixelshuffle"), 524_287),
    "light x4": (MambaIRConfig(), 7_456_540),
    "unet": (MambaIRUNetConfig(), 3_728_270),
    "v2": (MambaIRv2Config(), 11_184_810),
}


@pytest.mark.parametrize("name", LIMITING)
@pytest.mark.parametrize("ensemble", [False, True])
def test_no_plan_for_a_gpu_makes_a_tensor_that_libraries_cannot_count(name, ensemble):
    config, most = LIMITING[name]
    assert LARGEST_TENSOR // widest(config) == most
    for height, width in SIDES:
        for tile in ("auto", 64, 700):
            plan = Limits(100, 10**13, batches=True, most=most).plan(
                height, width, RestoreOptions(tile=tile, ensemble=ensemble)
            )
            assert plan.pixels * widest(config) < 2**31, (height, width, tile, str(plan))


def test_a_tile_of_ones_own_that_libraries_cannot_count_is_refused():
    message = "a tile of 4000x3000 pixels makes tensors of more values than a GPU's libraries can"
    with pytest.raises(MemoryLimitError, match=message) as caught:
        limits(10**9, most=1_491_308).plan(3000, 4000, RestoreOptions(tile=0))
    assert caught.value.hint == "use --tile auto, or --tile 1216"
    assert limits(10**9, most=1_491_308).plan(3000, 4000, RestoreOptions(tile=1216))


def test_a_gpu_runs_no_huge_image_whole_and_a_cpu_does():
    most = LARGEST_TENSOR // widest(MambaIRConfig())
    assert len(limits(10**9, most=most).plan(2040, 2040, AUTO).grid) == 1
    assert len(limits(10**9, most=most).plan(2600, 2600, AUTO).grid) > 1
    assert len(limits(10**9, gpu=False).plan(9000, 9000, AUTO).grid) == 1


@pytest.mark.parametrize(
    ("pixels", "room", "recorded"),
    [(60_000, 10**9, True), (68_000, 10**9, False), (60_000, 150_000, False)],
)
def test_only_runs_that_keep_little_and_are_over_soon_are_recorded(pixels, room, recorded):
    plan = limits(room).plan(100, pixels // 100, RestoreOptions(tile=0))
    assert plan.graphs == recorded


@pytest.mark.parametrize(
    ("weights", "options", "side"),
    [
        ("mambair-tiny-denoise-s25", RestoreOptions(), 64),
        ("mambair-tiny-denoise-s25", RestoreOptions(overlap=48), 64),
        ("mambair-tiny-denoise-s25", RestoreOptions(tile=128), 128),
        ("mambair-tiny-denoise-s25", RestoreOptions(tile=0), 500),
        ("mambair-light-denoise-s25", RestoreOptions(), 500),
        ("weights-of-my-own", RestoreOptions(), 500),
    ],
)
def test_weights_that_know_small_patches_get_small_tiles(weights, options, side):
    suited = options.suited_to(ModelSpec(weights, "denoise", 1, 3, 25))
    free = limits(10**9, gpu=False)
    assert free.plan(500, 500, suited).grid.columns.size == side
    assert free.plan(60, 40, suited).grid.tile_pixels == 60 * 40
    in_bands = replace(free, rows=100).plan(500, 500, suited)
    assert in_bands.grid.columns.size == (side if options.tile != "auto" else min(side, 96))
    after_failure = replace(free, known=100 * 100 * PER_PIXEL)
    assert after_failure.plan(500, 500, suited).grid.columns.size <= 100


def shape(plan):
    return len(plan.grid), plan.grid.rows.size, plan.grid.columns.size, plan.tiles, plan.members


@pytest.mark.parametrize("gpu", [True, False])
def test_an_image_that_fits_runs_whole(gpu):
    assert shape(limits(10**6, gpu=gpu).plan(300, 400, AUTO)) == (1, 300, 400, 1, 1)


def test_a_gpu_runs_as_many_tiles_together_as_fit():
    plan = limits(10 * 64 * 64).plan(300, 400, RestoreOptions(tile=64))
    assert shape(plan) == (48, 64, 64, 10, 1)


def test_a_cpu_runs_one_tile_at_a_time():
    plan = limits(10 * 64 * 64, gpu=False).plan(300, 400, RestoreOptions(tile=64))
    assert shape(plan) == (48, 64, 64, 1, 1)
    assert not plan.graphs


def test_a_batch_is_no_larger_than_the_image():
    assert shape(limits(10**7).plan(300, 400, RestoreOptions(tile=200))) == (6, 168, 160, 6, 1)


def test_a_batch_has_no_more_pixels_than_the_largest_tile():
    plan = limits(10**9).plan(9000, 9000, RestoreOptions(tile=512))
    assert plan.tiles == 1024**2 // plan.grid.tile_pixels
    assert plan.pixels <= 1024**2


@pytest.mark.parametrize(
    ("fitting", "tiles", "members"), [(1, 1, 1), (3, 1, 2), (7, 1, 4), (8, 2, 4), (21, 5, 4)]
)
def test_orientations_come_before_tiles(fitting, tiles, members):
    options = RestoreOptions(tile=64, ensemble=True)
    plan = limits(fitting * 64 * 64).plan(300, 400, options)
    assert (plan.tiles, plan.members) == (tiles, members)
    plan = limits(fitting * 64 * 64, gpu=False).plan(300, 400, options)
    assert (plan.tiles, plan.members) == (1, members)


@pytest.mark.parametrize("options", [AUTO, RestoreOptions(tile=128)])
def test_what_is_known_to_work_limits_the_plan(options):
    plan = limits(10**6, known=64 * 80 * PER_PIXEL).plan(300, 400, options)
    assert plan.pixels <= 64 * 80
    assert limits(10**6, known=64 * 80 * PER_PIXEL).plan(60, 80, options).pixels == 60 * 80


def test_the_smallest_tile_is_always_tried_if_memory_is_there():
    plan = limits(10**6, known=PER_PIXEL).plan(300, 400, AUTO)
    assert shape(plan)[1:] == (64, 64, 1, 1)


def test_too_little_memory_for_any_tile_is_an_error():
    with pytest.raises(MemoryLimitError, match="the smallest tile needs"):
        limits(1000).plan(300, 400, AUTO)


@pytest.mark.parametrize(("rows", "shape_"), [(400, (1, 400, 400)), (128, (16, 128, 128))])
def test_a_window_limits_the_rows_of_a_tile(rows, shape_):
    plan = Limits(PER_PIXEL, 10**9, rows=rows).plan(400, 400, AUTO)
    assert (len(plan.grid), plan.grid.rows.size, plan.grid.columns.size) == shape_


def test_under_a_limit_on_memory_the_users_tile_has_to_fit():
    available = 200 * 200 * PER_PIXEL
    wanted = RestoreOptions(tile=256)
    assert Limits(PER_PIXEL, available).plan(900, 700, wanted).pixels > 200 * 200
    assert Limits(PER_PIXEL, available, strict=True).plan(900, 700, RestoreOptions(tile=200))
    message = "^a tile of 256x256 pixels needs 62 MiB of memory, 38 MiB are available$"
    with pytest.raises(MemoryLimitError, match=message) as caught:
        Limits(PER_PIXEL, available, strict=True).plan(900, 700, wanted)
    assert caught.value.hint == "use --tile auto, or raise --max-memory"


def test_a_cpu_runs_tiles_side_by_side_as_memory_allows():
    tiles = RestoreOptions(tile=64)
    room = Limits(PER_PIXEL, 10**9, threads=8)
    assert str(room.plan(300, 400, tiles)) == "48 tiles of 64x64, 8 side by side"
    three = round((3 * 64 * 64 * PER_PIXEL + 9) / PLANNED_SHARE)
    plan = Limits(PER_PIXEL, three, threads=8).plan(300, 400, tiles)
    assert (plan.workers, plan.pixels) == (3, 3 * 64 * 64)
    assert room.plan(300, 400, AUTO).workers == 1
    fewer = [each.workers for each in attempts(plan, tiles, lambda: False)]
    assert fewer == [3, 1]


def test_large_tiles_become_smaller_so_that_they_run_side_by_side():
    room = round((1000 * 1000 * PER_PIXEL + 9) / PLANNED_SHARE)
    sides = [
        Limits(PER_PIXEL, room, threads=threads).plan(3000, 4000, AUTO).grid.columns.size
        for threads in (1, 2, 64)
    ]
    assert sides == [832, 696, 480]


def test_a_plan_says_what_it_is():
    plan = limits(10**9).plan(300, 400, RestoreOptions(tile=64, ensemble=True))
    assert str(plan) == "48 tiles of 64x64, 48 together, 4 orientations together"
    plan = limits(10**9).plan(60, 64, ENSEMBLE)
    assert str(plan) == "64x60 pixels whole, 4 orientations together, CUDA graphs"
    assert str(limits(10**9, gpu=False).plan(300, 400, AUTO)) == "400x300 pixels whole"


def ladder(plan, options, *, graphs):
    held = [graphs]
    released = []

    def release():
        released.append(True)
        return held.pop() if held else False

    plans = list(attempts(plan, options, release))
    # Also after the last one, so that nothing is kept for a network that cannot run.
    assert len(released) == len(plans)
    return plans


@pytest.mark.parametrize("graphs", [True, False])
def test_each_attempt_needs_less_than_the_one_before(graphs):
    options = RestoreOptions(tile=256, ensemble=True)
    first = replace(limits(10**6).plan(900, 700, options), graphs=graphs)
    plans = ladder(first, options, graphs=graphs)
    if graphs:
        first = plans.pop(0)
        assert first.graphs
        assert (first.grid, first.pixels) == (plans[0].grid, plans[0].pixels)
        assert not plans[0].graphs
    assert not any(plan.graphs for plan in plans[1:])
    pixels = [plan.pixels for plan in plans]
    assert pixels == sorted(set(pixels), reverse=True)
    assert shape(plans[-1])[1:] == (64, 64, 1, 1)
    assert len(plans) <= 10


def test_the_tiles_stay_as_long_as_possible():
    options = RestoreOptions(tile=256, ensemble=True)
    plans = ladder(limits(10**6).plan(900, 700, options), options, graphs=False)
    assert [(plan.tiles, plan.members) for plan in plans] == [
        (3, 4), (1, 4), (1, 2), (1, 1), (1, 1), (1, 1),
    ]  # fmt: skip
    assert len({plan.grid for plan in plans[:4]}) == 1


def test_a_huge_image_is_given_up_after_few_attempts():
    plan = limits(10**12).plan(30_000, 40_000, RestoreOptions(tile=64))
    assert len(ladder(plan, RestoreOptions(tile=64), graphs=True)) <= 12
