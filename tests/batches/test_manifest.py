import errno
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mambair_cli.batches.manifest import Entry, Manifest, manifest_name
from mambair_cli.errors import OutputError

ENTRY = Entry("abc", {"weights": "w", "scale": 4})


def records(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "photo_x4.png"
    path.write_bytes(b"whole picture")
    return path


def test_a_finished_output_is_intact_for_a_later_run(target):
    Manifest(target.parent).finish(target, ENTRY)
    assert Manifest(target.parent).has_intact(target, ENTRY)


@pytest.mark.parametrize(
    "other", [Entry("abd", ENTRY.recipe), Entry("abc", {"weights": "w", "scale": 2})]
)
def test_another_input_or_recipe_is_not_the_same(target, other):
    Manifest(target.parent).finish(target, ENTRY)
    assert not Manifest(target.parent).has_intact(target, other)


@pytest.mark.parametrize("damaged", [b"whole pict", b"", b"whole pictuRe"])
def test_a_damaged_output_is_not_intact(target, damaged):
    Manifest(target.parent).finish(target, ENTRY)
    target.write_bytes(damaged)
    manifest = Manifest(target.parent)
    assert not manifest.has_intact(target, ENTRY)
    assert manifest.knows(target)


def test_a_deleted_output_is_not_intact(target):
    Manifest(target.parent).finish(target, ENTRY)
    target.unlink()
    assert not Manifest(target.parent).has_intact(target, ENTRY)


def test_an_output_that_was_only_begun_is_known_and_not_intact(target):
    Manifest(target.parent).begin(target, ENTRY)
    manifest = Manifest(target.parent)
    assert manifest.knows(target)
    assert not manifest.has_intact(target, ENTRY)


def test_the_last_record_counts(target):
    manifest = Manifest(target.parent)
    manifest.finish(target, ENTRY)
    manifest.begin(target, ENTRY)
    assert not Manifest(target.parent).has_intact(target, ENTRY)


def test_an_empty_directory_knows_nothing(target):
    manifest = Manifest(target.parent)
    assert not manifest.knows(target)
    assert not manifest.has_intact(target, ENTRY)


def test_a_line_cut_short_spoils_neither_the_lines_before_nor_after(target):
    Manifest(target.parent).finish(target, ENTRY)
    other = target.with_name("other.png")
    other.write_bytes(b"other")
    with (target.parent / manifest_name()).open("ab") as file:
        file.write(b'{"target": "oth')
    Manifest(target.parent).finish(other, ENTRY)
    manifest = Manifest(target.parent)
    assert manifest.has_intact(target, ENTRY)
    assert manifest.has_intact(other, ENTRY)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "\n", "null\n", "[1, 2]\n", '{"target": "photo_x4.png"}\n', "\x00\n", "\n"],
)
def test_lines_that_are_no_records_are_passed_over(target, text):
    (target.parent / manifest_name()).write_text(text)
    assert not Manifest(target.parent).knows(target)


def test_a_record_that_cannot_be_written_is_an_error(target):
    (target.parent / manifest_name()).mkdir()
    with pytest.raises(OutputError, match="cannot be written: Is a directory") as caught:
        Manifest(target.parent).begin(target, ENTRY)
    assert "-o" in caught.value.hint


def test_records_say_what_they_are(target):
    manifest = Manifest(target.parent)
    source = target.parent / "in" / "photo.png"
    manifest.begin(target, replace(ENTRY, source=source))
    manifest.finish(target, replace(ENTRY, source=source))
    begun, done = records(target.parent / manifest_name())
    assert begun.pop("time") <= done.pop("time")
    assert begun == {
        "version": 1,
        "status": "begun",
        "run": 1,
        "target": "photo_x4.png",
        "source": "in/photo.png",
        "input_sha256": "abc",
        "recipe": {"weights": "w", "scale": 4},
        "output_sha256": None,
        "output_bytes": None,
    }
    assert done == begun | {
        "status": "done",
        "output_sha256": hashlib.sha256(b"whole picture").hexdigest(),
        "output_bytes": 13,
    }


def test_a_failure_is_recorded_with_its_reason(target):
    manifest = Manifest(target.parent)
    manifest.begin(target, ENTRY)
    manifest.fail(target, ENTRY, OutputError("the disk is full", "free some space"))
    *_, failed = records(target.parent / manifest_name())
    assert (failed["status"], failed["error"], failed["hint"]) == (
        "failed", "the disk is full", "free some space",
    )  # fmt: skip
    again = Manifest(target.parent)
    assert again.has_failed(target)
    assert not again.knows(target), "what is there now, somebody else has put there"
    assert not again.has_intact(target, ENTRY)


def test_a_failure_before_there_is_a_directory_is_recorded(tmp_path):
    target = tmp_path / "new" / "out" / "deep" / "a.png"
    Manifest(tmp_path / "new" / "out").fail(target, ENTRY, OutputError("no"))
    assert Manifest(tmp_path / "new" / "out").has_failed(target)


def test_what_was_done_after_a_failure_has_not_failed(target):
    Manifest(target.parent).fail(target, ENTRY, OutputError("no"))
    Manifest(target.parent).finish(target, ENTRY)
    manifest = Manifest(target.parent)
    assert not manifest.has_failed(target)
    assert manifest.has_intact(target, ENTRY)


def test_an_unknown_output_has_not_failed(target):
    assert not Manifest(target.parent).has_failed(target)


def test_outputs_further_down_are_kept_apart(tmp_path):
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
        Manifest(tmp_path).finish(tmp_path / name, ENTRY)
    manifest = Manifest(tmp_path)
    assert manifest.has_intact(tmp_path / "a" / "1.png", ENTRY)
    assert manifest.has_intact(tmp_path / "b" / "1.png", ENTRY)
    assert not manifest.knows(tmp_path / "1.png")


def test_each_part_of_a_batch_has_a_file_and_all_are_read(target):
    other = target.with_name("other.png")
    other.write_bytes(b"other")
    Manifest(target.parent, (1, 2)).finish(target, ENTRY)
    Manifest(target.parent, (2, 2)).fail(other, ENTRY, OutputError("no"))
    assert sorted(path.name for path in target.parent.glob(".*")) == [
        ".mambair-manifest-1-of-2.jsonl",
        ".mambair-manifest-2-of-2.jsonl",
    ]
    for shard in (None, (1, 2), (3, 5)):
        manifest = Manifest(target.parent, shard)
        assert manifest.has_intact(target, ENTRY)
        assert manifest.has_failed(other)


@pytest.mark.parametrize("order", [((1, 2), (2, 2)), ((2, 2), (1, 2)), (None, (1, 2))])
def test_of_several_files_the_latest_record_counts(target, order):
    earlier, later = order
    Manifest(target.parent, earlier).fail(target, ENTRY, OutputError("no"))
    Manifest(target.parent, later).finish(target, ENTRY)
    assert Manifest(target.parent).has_intact(target, ENTRY)


@pytest.mark.parametrize("parts", [(None, None), (None, (1, 2)), ((2, 2), (1, 2))])
@pytest.mark.parametrize("old", [True, False])
def test_a_clock_that_stood_wrong_changes_no_order(target, parts, old):
    before, after = parts
    Manifest(target.parent, before).fail(target, ENTRY, OutputError("no"))
    path = target.parent / manifest_name(before)
    tomorrow = [record | {"time": record["time"] + 86400} for record in records(path)]
    if old:  # written before runs were counted
        tomorrow = [{key: v for key, v in record.items() if key != "run"} for record in tomorrow]
    path.write_text("".join(json.dumps(record) + "\n" for record in tomorrow))
    Manifest(target.parent, after).finish(target, ENTRY)
    assert Manifest(target.parent).has_intact(target, ENTRY)


def test_a_record_that_cannot_be_read_is_named(target, monkeypatch):
    Manifest(target.parent).begin(target, ENTRY)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OutputError, match=r"the record .*jsonl cannot be read: Input/output error"):
        Manifest(target.parent)


def test_the_source_is_told_wherever_it_is(tmp_path):
    source = tmp_path / "in" / "deep" / "photo.png"
    Manifest(tmp_path / "out").outputs()
    (tmp_path / "out").mkdir()
    Manifest(tmp_path / "out").begin(tmp_path / "out" / "a.png", replace(ENTRY, source=source))
    ((target, found),) = Manifest(tmp_path / "out").outputs()
    assert target == tmp_path / "out" / "a.png"
    assert found.resolve() == source


def test_names_that_are_no_text_are_kept(tmp_path):
    target = tmp_path / "caf\udce9.png"
    Manifest(tmp_path).begin(target, ENTRY)
    assert Manifest(tmp_path).knows(target)
    assert (tmp_path / manifest_name()).read_bytes().isascii()


def test_a_record_cut_anywhere_is_as_if_it_was_not_there(target):
    manifest = Manifest(target.parent)
    manifest.begin(target, ENTRY)
    size = manifest.path.stat().st_size
    manifest.finish(target, ENTRY)
    content = manifest.path.read_bytes()
    wrong = []
    for end in range(size, len(content) - 1):
        manifest.path.write_bytes(content[:end])
        cut = Manifest(target.parent)
        if not cut.knows(target) or cut.has_intact(target, ENTRY):
            wrong.append(content[:end])
    assert not wrong


def test_records_of_another_version_are_passed_over(target):
    manifest = Manifest(target.parent)
    manifest.finish(target, ENTRY)
    text = manifest.path.read_text().replace('"version": 1', '"version": 2')
    manifest.path.write_text(text)
    assert not Manifest(target.parent).knows(target)


def test_threads_write_whole_lines(tmp_path):
    manifest = Manifest(tmp_path)
    targets = [tmp_path / f"{number}.png" for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda target: manifest.begin(target, ENTRY), targets))
    assert {record["target"] for record in records(manifest.path)} == {t.name for t in targets}


def test_names_of_the_files():
    assert manifest_name() == ".mambair-manifest.jsonl"
    assert manifest_name((2, 5)) == ".mambair-manifest-2-of-5.jsonl"


STEPS = st.lists(
    st.tuples(
        st.sampled_from([None, (1, 2), (2, 2)]),
        st.sampled_from(["a.png", "deep/a.png"]),
        st.sampled_from(["begin", "finish", "fail"]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_what_was_done_last_is_known_whoever_did_it(steps):
    with TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "deep").mkdir()
        last, made = {}, set()
        for shard, name, step in steps:
            manifest = Manifest(out, shard)
            (out / name).write_text(name)
            if step == "fail":
                manifest.fail(out / name, ENTRY, OutputError("no"))
            else:
                getattr(manifest, step)(out / name, ENTRY)
            last[name] = step
            if step == "finish":
                made.add(name)
        for manifest in (Manifest(out), Manifest(out, (2, 2))):
            for name in ("a.png", "deep/a.png"):
                ours = name in made or last.get(name) == "begin"
                assert manifest.knows(out / name) == ours
                assert manifest.has_failed(out / name) == (last.get(name) == "fail")
                assert manifest.has_intact(out / name, ENTRY) == (last.get(name) == "finish")
