"""Which files become which where some have addresses: folders, patterns, collisions, records."""

from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mambair_cli.batches.naming import NameTemplate
from mambair_cli.distributed.planning import plan_places
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import UsageError


@pytest.fixture(autouse=True)
def bucket():
    """Files in memory: `memory://b/` and what is below it."""
    store = MemoryFileSystem()
    for name in ("a.png", "A.png", "photo.jpg", "photo_x4.png", "notes.txt", ".hidden.png"):
        store.pipe_file(f"/b/{name}", b"-")
    for name in ("sub/c.tif", "sub/.git/d.png", "out/e.png", "outdoor/f.png"):
        store.pipe_file(f"/b/{name}", b"-")
    yield store
    store.rm("/b", recursive=True)


def plan(*names, output=None, listed=(), **options):
    given = {"suffix": "_x4", "format": None, "recursive": True, "overwrite": False}
    target = None if output is None else (Url.parse(output) if "://" in str(output) else output)
    return plan_places(list(names), list(listed), output=target, **(given | options))


def pairs(*names, **options):
    return [(str(job.source), str(job.target)) for job in plan(*names, **options)]


def refusal(*names, **options):
    with pytest.raises(UsageError) as caught:
        plan(*names, **options)
    assert caught.value.hint
    return caught.value.message


def test_a_file_gets_its_result_beside_it():
    assert pairs("memory://b/a.png") == [("memory://b/a.png", "memory://b/a_x4.png")]
    (job,) = plan("memory://b/a.png")
    assert str(job.record) == "memory://b"


def test_a_tree_is_mirrored_without_results_hidden_files_and_the_output():
    assert pairs("memory://b", output="memory://b/out") == [
        ("memory://b/A.png", "memory://b/out/A_x4.png"),
        ("memory://b/a.png", "memory://b/out/a_x4.png"),
        ("memory://b/outdoor/f.png", "memory://b/out/outdoor/f_x4.png"),
        ("memory://b/photo.jpg", "memory://b/out/photo_x4.jpg"),
        ("memory://b/sub/c.tif", "memory://b/out/sub/c_x4.tif"),
    ]


def test_without_recursion_folders_inside_are_left_alone():
    found = pairs("memory://b/", output="memory://r", recursive=False)
    assert [source for source, _ in found] == [
        "memory://b/A.png",
        "memory://b/a.png",
        "memory://b/photo.jpg",
    ]


def test_patterns_keep_the_place_below_their_fixed_part():
    assert pairs("memory://b/**/*.tif", output="memory://r", format="png") == [
        ("memory://b/sub/c.tif", "memory://r/sub/c_x4.png")
    ]
    assert pairs("memory://b/*/f.png", output="memory://r") == [
        ("memory://b/outdoor/f.png", "memory://r/outdoor/f_x4.png")
    ]


def test_one_file_may_be_named_and_anything_else_is_below_the_output(tmp_path):
    assert pairs("memory://b/a.png", output="memory://r/new.jpg") == [
        ("memory://b/a.png", "memory://r/new.jpg")
    ]
    assert pairs("memory://b/a.png", output=tmp_path) == [
        ("memory://b/a.png", str(tmp_path / "a_x4.png"))
    ]
    assert refusal("memory://b", output="memory://r/new.jpg") == (
        "memory://r/new.jpg names one file, but more than one image may be written"
    )


def test_files_of_this_machine_go_to_an_address(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").touch()
    source = str(tmp_path / "in" / "x.png")
    expected = [(source, "memory://r/x_x4.png")]
    assert pairs(str(tmp_path / "in"), output="memory://r") == expected
    assert pairs(f"file://{tmp_path / 'in'}", output="memory://r") == expected
    assert pairs(f"file://{source}") == [(source, str(tmp_path / "in" / "x_x4.png"))]


def test_lists_are_no_patterns():
    found = pairs(listed=["memory://b/[1].png"], output="memory://r")
    assert found == [("memory://b/[1].png", "memory://r/[1]_x4.png")]


def test_what_exists_already_is_refused_one_by_one():
    first, second = plan("memory://b/a.png", "memory://b/sub/c.tif", format="png")
    assert (first.refusal, second.refusal) == (None, None)
    (job,) = plan("memory://b/photo.jpg", suffix="_x4", format="png")
    assert job.refusal.message == "memory://b/photo_x4.png exists already"
    (job,) = plan("memory://b/photo.jpg", suffix="_x4", format="png", overwrite=True)
    assert job.refusal is None


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["memory://b/none.png"], {}, "no such file or directory: memory://b/none.png"),
        (["memory://b/*.gif"], {}, "memory://b/*.gif has no images"),
        (["memory://b/sub/.git"], {"suffix": "", "output": "memory://b/sub/.git"}, None),
        (["memory://b/a.png"], {"suffix": ""}, None),
        (["nowhere://b/a.png"], {}, None),
        ([], {"output": "memory://r"}, "no input was given"),
    ],
)
def test_wrong_requests(names, options, message):
    told = refusal(*names, **options)
    if message is not None:
        assert told == message


def test_two_sources_of_one_result():
    message = refusal(
        "memory://b/sub/c.tif",
        "memory://b/photo.jpg",
        output="memory://r",
        name=NameTemplate.parse("one.png"),
    )
    assert message == (
        "memory://b/sub/c.tif and memory://b/photo.jpg would both be written to memory://r/one.png"
    )
