"""Which files become which where some have addresses: folders, patterns, collisions, records."""

from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from odd_disks import ask_a_disk_without_case

from mambair_cli.batches.jobs import in_shard, plan_jobs
from mambair_cli.batches.manifest import Entry, Manifest
from mambair_cli.batches.naming import NameTemplate
from mambair_cli.batches.sources.inputs import resolve_inputs
from mambair_cli.batches.urls import Url, parse_place
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
    target = None if output is None else parse_place(str(output))
    return plan_jobs(resolve_inputs(names, listed), output=target, **(given | options))


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
        (["memory://b/*.gif"], {}, "no image matches memory://b/*.gif"),
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


class TestAsInFolders:
    """What folders of this machine always did, stores do too."""

    def test_names_that_differ_in_case_are_two_results_in_a_store_and_one_in_a_folder(
        self, tmp_path, monkeypatch
    ):
        ask_a_disk_without_case(monkeypatch)
        names = ("memory://b/a.png", "memory://b/A.png")
        assert len(pairs(*names, output="memory://r")) == 2
        assert refusal(*names, output=tmp_path) == (
            f"memory://b/a.png and memory://b/A.png would both be written to "
            f"{tmp_path / 'A_x4.png'}"
        )

    def test_names_in_two_unicode_forms_are_one_result_in_a_folder(
        self, bucket, tmp_path, monkeypatch
    ):
        ask_a_disk_without_case(monkeypatch)
        names = [f"memory://b/caf{accent}.png" for accent in ("\xe9", "e\u0301")]
        for name in names:
            bucket.pipe_file(name.removeprefix("memory:/"), b"-")
        assert len(pairs(*names, output="memory://r")) == 2
        assert "would both be written to" in refusal(*names, output=tmp_path)

    def test_recorded_results_are_no_inputs(self, bucket):
        record = Manifest(Url.parse("memory://b/sub"))
        result = Url.parse("memory://b/sub/c large.tif")
        record.begin(result, Entry("0", {}, source=Url.parse("memory://b/sub/c.tif")))
        record.keep()
        bucket.pipe_file("/b/sub/c large.tif", b"-")
        (pair,) = pairs("memory://b/sub")
        assert pair[0] == "memory://b/sub/c.tif"
        named = pairs("memory://b/sub/c large.tif", "memory://b/sub")
        assert [source for source, _ in named] == [str(result), "memory://b/sub/c.tif"]

    def test_folders_that_match_are_searched(self):
        expected = [("memory://b/outdoor/f.png", "memory://r/outdoor/f_x4.png")]
        assert pairs("memory://b/outd*", output="memory://r") == expected
        assert pairs("memory://b/out*", output="memory://b/out") == [
            ("memory://b/outdoor/f.png", "memory://b/out/outdoor/f_x4.png")
        ]
        found = pairs("memory://b/*", output="memory://r", recursive=False)
        assert "memory://b/sub/c.tif" in [source for source, _ in found]

    def test_a_folder_may_be_below_that_of_the_results(self):
        assert pairs("memory://b/sub", output="memory://b") == [
            ("memory://b/sub/c.tif", "memory://b/c_x4.tif")
        ]

    def test_a_file_whose_name_looks_like_a_pattern_is_that_file(self, bucket):
        bucket.pipe_file("/b/holiday [1].png", b"-")
        bucket.pipe_file("/b/shots [1]/a.png", b"-")
        bucket.pipe_file("/b/shots 1/a.png", b"-")
        (pair,) = pairs("memory://b/holiday [1].png")
        assert pair[0] == "memory://b/holiday [1].png"
        assert pairs("memory://b/shots [1]/*.png", output="memory://r") == [
            ("memory://b/shots [1]/a.png", "memory://r/a_x4.png")
        ]

    def test_patterns_that_are_none_are_refused(self):
        assert refusal("memory://b/a**/b.png").startswith("memory://b/a**/b.png is no pattern: ")
        assert refusal("memory://b/*/../x.png") == (
            "memory://b/*/../x.png is no pattern: .. follows a wildcard"
        )

    def test_missing_ones_are_all_named(self, tmp_path):
        here = str(tmp_path / "none.png")
        assert refusal("memory://b/none.png", "memory://b/a.png", listed=[here]) == (
            f"no such file or directory: memory://b/none.png, {here}"
        )

    def test_our_own_files_are_passed_over(self, bucket):
        bucket.pipe_file("/b/.mambair-manifest.jsonl", b"")
        (pair,) = pairs("memory://b/.mambair-manifest.jsonl", "memory://b/a.png")
        assert pair[0] == "memory://b/a.png"

    def test_listed_folders_of_this_machine_are_searched(self, tmp_path):
        (tmp_path / "x.png").touch()
        assert pairs(listed=[str(tmp_path)], output="memory://r") == [
            (str(tmp_path / "x.png"), "memory://r/x_x4.png")
        ]

    def test_images_further_down_are_hinted_at(self, bucket):
        bucket.pipe_file("/b/deep/er/x.png", b"-")
        assert refusal("memory://b/deep", recursive=False) == (
            "memory://b/deep has no images of its own, only in its sub-directories"
        )

    def test_a_link_that_leads_nowhere_is_not_written_over(self, tmp_path):
        (tmp_path / "a_x4.png").symlink_to("gone.png")
        (job,) = plan("memory://b/a.png", output=tmp_path)
        assert job.refusal.message == f"{tmp_path / 'a_x4.png'} exists already"

    def test_a_link_to_an_input_is_not_written_over(self, tmp_path):
        (tmp_path / "x.png").touch()
        (tmp_path / "a_x4.png").symlink_to("x.png")
        message = refusal(
            str(tmp_path / "x.png"), "memory://b/a.png", output=tmp_path, overwrite=True
        )
        assert message == (
            f"the result would be written over the input {tmp_path / 'x.png'} "
            f"({tmp_path / 'a_x4.png'} is the same file)"
        )

    def test_what_is_there_decides_between_a_file_and_a_folder(self, bucket, tmp_path):
        bucket.pipe_file("/r/dir.png/x.txt", b"-")
        assert pairs("memory://b/a.png", output="memory://r/dir.png") == [
            ("memory://b/a.png", "memory://r/dir.png/a_x4.png")
        ]
        assert pairs("memory://b/a.png", output="memory://r/v1.2") == [
            ("memory://b/a.png", "memory://r/v1.2/a_x4.png")
        ]
        (tmp_path / "file").touch()
        assert refusal("memory://b", output=tmp_path / "file") == (
            f"{tmp_path / 'file'} is a file, but more than one image may be written"
        )
        bucket.rm("/r", recursive=True)


def test_all_of_a_store_is_a_folder_too():
    found = [source for source, _ in pairs("memory://", output="memory://r")]
    assert "memory://b/sub/c.tif" in found


def test_for_one_file_no_folder_is_listed(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it may hold any number of files")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "find", refuse)
        (job,) = plan("memory://b/photo.jpg", format="png")
    assert job.refusal.message == "memory://b/photo_x4.png exists already"


def test_parts_beside_the_inputs_make_the_whole():
    jobs = plan("memory://b")
    parts = [in_shard(jobs, (index, 2), None) for index in (1, 2)]
    assert sorted(job.source for part in parts for job in part) == sorted(
        job.source for job in jobs
    )
