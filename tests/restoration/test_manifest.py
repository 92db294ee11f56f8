import pytest

from mambair_cli.errors import OutputError
from mambair_cli.restoration.manifest import MANIFEST_NAME, Entry, Manifest

ENTRY = Entry("abc", {"weights": "w", "scale": 4})


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
    with (target.parent / MANIFEST_NAME).open("ab") as file:
        file.write(b'{"target": "oth')
    Manifest(target.parent).finish(other, ENTRY)
    manifest = Manifest(target.parent)
    assert manifest.has_intact(target, ENTRY)
    assert manifest.has_intact(other, ENTRY)


@pytest.mark.parametrize(
    "text", ["null\n", "[1, 2]\n", '{"target": "photo_x4.png"}\n', "\x00\n", "\n"]
)
def test_lines_that_are_no_records_are_passed_over(target, text):
    (target.parent / MANIFEST_NAME).write_text(text)
    assert not Manifest(target.parent).knows(target)


def test_a_record_that_cannot_be_written_is_an_error(target):
    (target.parent / MANIFEST_NAME).mkdir()
    with pytest.raises(OutputError, match="cannot be written: Is a directory") as caught:
        Manifest(target.parent).begin(target, ENTRY)
    assert "-o" in caught.value.hint
