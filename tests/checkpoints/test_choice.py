"""Which model is chosen where none is named by its file."""

from __future__ import annotations

import pytest

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import entries
from mambair_cli.checkpoints.choice import choose
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import UsageError

LARGE_ONES = ("mambairv2-small-sr-x4", "mambairv2-base-sr-x4", "mambairv2-large-sr-x4")


@pytest.mark.parametrize(
    ("device_type", "best", "next_best", "others"),
    [
        (
            "cpu",
            "mambairv2-light-sr-x4",
            "mambair-light-sr-x4",
            ["mambair-classic-sr-x4", *LARGE_ONES],
        ),
        (
            "mps",
            "mambair-light-sr-x4",
            "mambairv2-light-sr-x4",
            ["mambair-classic-sr-x4", *LARGE_ONES],
        ),
        (
            "cuda",
            "mambairv2-base-sr-x4",
            "mambair-classic-sr-x4",
            ["mambair-light-sr-x4", "mambairv2-light-sr-x4", LARGE_ONES[0], LARGE_ONES[2]],
        ),
    ],
)
def test_the_best_published_model_for_the_device_and_what_may_stand_in(
    device_type, best, next_best, others
):
    choice = choose("sr", scale=4, device_type=device_type)
    assert (choice.entry.id, choice.notices) == (best, ())
    stand_ins = [entry.id for entry in choice.stand_ins]
    assert stand_ins == [next_best, *others, "mambair-tiny-sr-x4"]


@pytest.mark.parametrize(
    ("task", "request_"), [("denoise", {"sigma": 15}), ("dejpeg", {"quality": 10})]
)
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_what_restores_at_the_same_size_stays_version_1(task, request_, device_type):
    choice = choose(task, **request_, device_type=device_type)
    assert choice.entry.variant == "base"
    assert choice.stand_ins[0].variant == "v2-base"


@pytest.mark.parametrize("variant", ["tiny", "classic", "mambair-classic-sr-x4"])
def test_nothing_stands_in_for_what_was_named(variant):
    choice = choose("sr", scale=4, variant=variant)
    assert variant in {choice.entry.id, choice.entry.variant}
    assert (choice.notices, choice.stand_ins) == ((), ())


@pytest.mark.parametrize(
    ("task", "request_", "stand_in"),
    [
        ("sr", {"scale": 2}, "mambair-tiny-sr-x2"),
        ("sr", {"scale": 3}, "mambair-tiny-sr-x3"),
        ("realsr", {}, "mambair-tiny-real-sr-x4"),
        ("denoise", {"sigma": 15}, "mambair-tiny-denoise-s15"),
        ("denoise", {"sigma": 60}, "mambair-tiny-denoise-s50"),
        ("denoise-real", {}, "mambair-tiny-denoise-real"),
        ("dejpeg", {"quality": 12}, "mambair-tiny-dejpeg-q10"),
        ("dejpeg", {"quality": 40}, "mambair-tiny-dejpeg-q40"),
    ],
)
def test_every_task_has_bundled_weights_to_fall_back_on(task, request_, stand_in):
    choice = choose(task, **request_)
    assert choice.entry.repo
    assert next(entry.id for entry in choice.stand_ins if entry.bundled) == stand_in
    assert choose(task, **request_, variant="tiny").entry.id == stand_in


def test_tasks_of_one_scale_need_none():
    assert choose("realsr").entry.id == "mambair-real-sr-x4"
    assert choose("denoise-real").entry.id == "mambair-unet-denoise-real"


@pytest.fixture
def realsr_at_two_scales(monkeypatch):
    """The same catalogue with bundled weights of `realsr` for scale 2 besides."""
    rows = tuple(entries())
    tiny = next(entry for entry in rows if entry.id == "mambair-tiny-real-sr-x4")
    small = catalogue.CatalogueEntry(**{**vars(tiny), "id": "mambair-tiny-real-sr-x2", "scale": 2})
    monkeypatch.setattr(catalogue, "entries", lambda: (*rows, small))


@pytest.mark.parametrize(("scale", "expected"), [(2, "24"), (3, "4"), (4, "4"), (None, "4")])
@pytest.mark.usefixtures("realsr_at_two_scales")
def test_photographs_are_enlarged_by_the_next_larger_weights_or_the_published_ones(scale, expected):
    """Results of the larger ones are reduced."""
    choice = Request("realsr", scale).choose("cpu")
    assert choice.entry.id == "mambair-real-sr-x4"
    stand_ins = [entry.id for entry in choice.stand_ins]
    assert stand_ins == [f"mambair-tiny-real-sr-x{each}" for each in expected]
    named = Request("realsr", scale, variant="tiny").choose("cpu").entry
    assert named.id == stand_ins[0]


def test_where_photographs_have_one_scale_it_serves_smaller_ones():
    request = Request("realsr", 2)
    choice = request.choose("cpu")
    assert choice.entry.id == "mambair-real-sr-x4"
    request.check(choice.entry.spec)
    with pytest.raises(UsageError, match="enlarges 4 times, but scale 8 was asked for"):
        Request("realsr", 8).check(choice.entry.spec)
    with pytest.raises(UsageError, match="enlarges 4 times, but scale 2 was asked for"):
        Request("realsr", 2, weights="mine.safetensors").check(choice.entry.spec)


@pytest.fixture
def all_bundled(monkeypatch):
    """The same catalogue, as if every file shipped with the package."""
    rows = tuple(
        catalogue.CatalogueEntry(
            **{**vars(entry), "bundled": f"{entry.id}.safetensors", "repo": None, "files": ()}
        )
        for entry in entries()
    )
    monkeypatch.setattr(catalogue, "entries", lambda: rows)


@pytest.mark.parametrize(
    ("task", "level", "asked", "chosen"),
    [
        ("denoise", "sigma", 15, 15),
        ("denoise", "sigma", 24.5, 25),
        ("denoise", "sigma", 20, 15),
        ("denoise", "sigma", 35, 25),
        ("denoise", "sigma", 3, 15),
        ("denoise", "sigma", 75, 50),
        ("dejpeg", "quality", 40, 40),
        ("dejpeg", "quality", 15, 10),
        ("dejpeg", "quality", 20, 30),
        ("dejpeg", "quality", 34, 30),
        ("dejpeg", "quality", 95, 40),
    ],
)
@pytest.mark.usefixtures("all_bundled")
def test_levels_take_the_nearest_and_say_so(task, level, asked, chosen):
    choice = choose(task, **{level: asked})
    assert getattr(choice.entry.spec, level) == chosen
    notice = {
        "sigma": f"sigma {asked:g}: images are adapted to the trained level {chosen}",
        "quality": f"quality {asked:g}: using the nearest trained level {chosen} of 10, 30, 40",
    }[level]
    assert choice.notices == (() if asked == chosen else (notice,))


@pytest.mark.parametrize(
    ("device_type", "variant"), [("cpu", "v2-light"), ("mps", "light"), ("cuda", "v2-base")]
)
@pytest.mark.usefixtures("all_bundled")
def test_variant_follows_the_device(device_type, variant):
    choice = choose("sr", scale=3, device_type=device_type)
    assert (choice.entry.variant, choice.notices) == (variant, ())


@pytest.mark.parametrize(
    ("task", "request_", "message", "hint"),
    [
        ("sr", {"scale": 5}, "no sr model for scale 5", "--scale takes one of: 2, 3, 4"),
        ("sr", {}, "sr needs a scale", "--scale takes one of: 2, 3, 4"),
        ("realsr", {"scale": 5}, "no realsr model for scale 5", "--scale takes one of: 4"),
        ("denoise", {}, "denoise needs a sigma", "--sigma takes one of: 15, 25, 50"),
        ("dejpeg", {}, "dejpeg needs a quality", "--quality takes one of: 10, 30, 40"),
        (
            "sr",
            {"scale": 4, "variant": "lite"},
            "no variant 'lite' for sr at scale 4",
            (
                "did you mean light? known: tiny, light, classic, v2-light, v2-small, v2-base, "
                "v2-large"
            ),
        ),
        (
            "sr",
            {"scale": 2, "variant": "base"},
            "no variant 'base' for sr at scale 2",
            (
                "did you mean v2-base? known: tiny, light, classic, v2-light, v2-small, v2-base, "
                "v2-large"
            ),
        ),
    ],
)
def test_impossible_requests(task, request_, message, hint):
    with pytest.raises(UsageError) as caught:
        choose(task, **request_)
    assert (caught.value.message, caught.value.hint) == (message, hint)
