import os
import sys
from pathlib import Path

import pytest

from mambair_cli.batches.manifest import Entry, Manifest
from mambair_cli.batches.sources.inputs import (
    Pattern,
    find_images,
    read_names,
    resolve_inputs,
)
from mambair_cli.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(*names, output=None, suffix="_x4", recursive=True, listed=()):
    sources = find_images(
        resolve_inputs(names, listed),
        output=None if output is None else Path(output),
        suffix=suffix,
        recursive=recursive,
    )
    return [(source.path.as_posix(), source.root.as_posix()) for source in sources]


def paths(*names, **options):
    return [path for path, _ in found(*names, **options)]


def refusal(*names, **options):
    with pytest.raises(UsageError) as caught:
        found(*names, **options)
    assert caught.value.hint
    return caught.value.message


class TestPatterns:
    def test_what_matches_keeps_its_place_below_the_first_wildcard(self):
        touch("a/1.png", "a/b/2.png", "a/b/c/3.jpg", "a/b/c/4.png", "5.png")
        assert found("a/**/*.png") == [("a/1.png", "a"), ("a/b/2.png", "a"), ("a/b/c/4.png", "a")]
        assert found("a/b/*/?.png") == [("a/b/c/4.png", "a/b")]
        assert found("[0-9].png") == [("5.png", ".")]

    def test_an_absolute_pattern(self, folder):
        touch("a/1.png")
        assert paths(f"{folder}/a/*.png") == [str(folder / "a" / "1.png")]

    def test_folders_that_match_are_searched(self):
        touch("2023/1.png", "2024-a/2.png", "2024-b/deep/3.png", "2024-c/notes.txt")
        assert found("2024-*") == [("2024-a/2.png", "."), ("2024-b/deep/3.png", ".")]
        assert paths("2024-*", recursive=False) == ["2024-a/2.png"]

    def test_only_visible_images_match(self):
        touch("a/1.png", "a/.2.png", "a/.git/3.png", "a/notes.txt", "a/.mambair-0f.tmp")
        assert paths("a/*") == ["a/1.png"]
        assert paths("a/**") == ["a/1.png"]

    def test_nothing_of_the_output_directory_matches(self):
        touch("data/1.png", "data/out/1_x4.png", "data/outdoor/2.png")
        assert paths("data/**/*.png", output="data/out") == ["data/1.png", "data/outdoor/2.png"]
        assert paths("data/o*", output="data/out") == ["data/outdoor/2.png"]

    def test_no_result_of_an_image_that_matches_too(self):
        touch("photo.png", "photo_x4.png", "other_x4.png")
        assert paths("*.png") == ["other_x4.png", "photo.png"]

    def test_a_link_that_leads_in_a_circle_ends(self):
        touch("a/1.png")
        Path("a/again").symlink_to(".", target_is_directory=True)
        assert paths("a/**/*.png") == ["a/1.png"]

    @pytest.mark.parametrize("name", ["holiday [1].png", "what?.png", "*.png", "[ab].png"])
    def test_a_file_whose_name_looks_like_a_pattern_is_that_file(self, name):
        touch(name, "a.png", "whata.png")
        assert paths(name) == [name]

    def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(self):
        touch("shots [1]/a.png", "shots [1]/b.jpg", "shots 1/a.png")
        assert found("shots [1]/*.png") == [("shots [1]/a.png", "shots [1]")]

    def test_a_pattern_that_matches_nothing_is_refused(self):
        touch("a/notes.txt")
        assert refusal("a/*.png") == "no image matches a/*.png"
        assert refusal("a/*.txt") == "no image matches a/*.txt"
        assert refusal("b/**/*.png") == "no image matches b/**/*.png"

    def test_a_pattern_that_leads_out_of_its_folder_is_refused(self):
        touch("a/b/1.png", "c/2.png")
        assert refusal("a/*/../../c/*.png") == (
            "a/*/../../c/*.png is no pattern: .. follows a wildcard"
        )
        assert found("a/../c/*.png") == [("a/../c/2.png", "a/../c")]

    def test_a_pattern_that_is_none_is_refused(self):
        if sys.version_info < (3, 13):
            assert refusal("a**/b.png").startswith("a**/b.png is no pattern: ")


class TestWhatIsNamed:
    def test_missing_ones_are_all_named(self):
        touch("a.png")
        assert refusal("a.png", "b.png", "c") == "no such file or directory: b.png, c"
        assert refusal("", listed=["d*.png", "a.png"]) == "no such file or directory: '', d*.png"

    def test_names_too_long_for_the_system_are_missing(self):
        assert refusal("x" * 300).startswith("no such file or directory: xxx")
        assert refusal("a\0b").startswith("no such file or directory: ")

    def test_a_link_that_leads_nowhere_is_missing(self):
        Path("a.png").symlink_to("gone.png")
        assert refusal("a.png") == "no such file or directory: a.png"

    def test_nothing_is_refused(self):
        assert refusal() == "no input was given"

    def test_our_own_files_are_passed_over(self):
        touch(".mambair-manifest.jsonl", ".mambair-00ff.tmp", "a.png")
        own = [".mambair-manifest.jsonl", ".mambair-00ff.tmp"]
        assert paths(*own, listed=[*own, "a.png"]) == ["a.png"]
        assert refusal(*own) == "no input was given"

    def test_each_image_is_taken_once(self):
        touch("d/a.png", "d/b.png")
        assert paths("d/b.png", "d", "d/*.png", listed=["d/../d/a.png"]) == ["d/b.png", "d/a.png"]

    def test_a_folder_that_cannot_be_read_is_refused(self, monkeypatch):
        touch("d/a.png", "d/secret/b.png")
        scan = os.scandir

        def refuse(path):
            if str(path).endswith("secret"):
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        assert refusal("d") == "d/secret cannot be read: Permission denied"


class TestRecordedResults:
    def record(self, directory, target, source):
        Manifest(Path(directory)).begin(
            Path(directory, target), Entry("0", {}, source=Path(source))
        )

    def test_are_no_inputs_beside_their_sources(self):
        touch("d/photo.png", "d/large photo.png", "d/deep/a.png", "d/deep/b.png")
        self.record("d", "large photo.png", "d/photo.png")
        self.record("d/deep", "b.png", "d/deep/a.png")
        assert paths("d") == ["d/photo.png", "d/deep/a.png"]
        assert paths("d/*.png") == ["d/photo.png"]

    def test_are_no_inputs_where_the_output_is_the_input(self):
        touch("d/photo.png", "d/deep/a.png", "d/deep/b.png")
        self.record("d", "deep/b.png", "d/deep/a.png")
        assert paths("d", output="d") == ["d/photo.png", "d/deep/a.png"]

    def test_are_inputs_of_the_next_step(self):
        touch("in/photo.png", "out/photo.png")
        self.record("out", "photo.png", "in/photo.png")
        assert paths("out") == ["out/photo.png"]
        assert paths("out", output="final") == ["out/photo.png"]

    def test_are_inputs_where_they_are_named(self):
        touch("d/photo.png", "d/large.png")
        self.record("d", "large.png", "d/photo.png")
        assert paths("d/large.png", "d") == ["d/large.png", "d/photo.png"]


class TestListsOfNames:
    def test_one_a_line(self):
        assert read_names(b"a.png\n\nb c.png\n  \n\td.png", null=False) == [
            "a.png",
            "b c.png",
            "\td.png",
        ]

    def test_as_windows_writes_it(self):
        content = b"\xef\xbb\xbfcaf\xc3\xa9.png\r\nb.png\r\n"
        assert read_names(content, null=False) == [os.fsdecode(b"caf\xc3\xa9.png"), "b.png"]

    def test_ended_by_nul(self):
        assert read_names(b"a\nb.png\0 c.png\0\0", null=True) == ["a\nb.png", " c.png"]

    @pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
    def test_names_that_are_no_text_survive(self):
        (name,) = read_names(b"caf\xe9.png\n", null=False)
        touch(name)
        assert paths(listed=[name]) == [name]
        assert os.fsencode(name) == b"caf\xe9.png"

    def test_names_are_no_patterns(self):
        touch("a.png", "b.png", "[ab].png")
        assert paths(listed=["[ab].png"]) == ["[ab].png"]
        assert refusal(listed=["?.png"]) == "no such file or directory: ?.png"

    def test_nul_without_being_asked_for_is_refused(self):
        with pytest.raises(UsageError, match=r"^the list of files has NUL bytes$") as caught:
            read_names(b"a.png\0b.png\0", null=False)
        assert "--null" in caught.value.hint

    def test_folders_may_be_listed(self):
        touch("d/a.png", "e.png")
        assert paths(listed=["d", "e.png"]) == ["d/a.png", "e.png"]


def test_a_pattern_reads_as_it_was_typed():
    assert str(Pattern(Path("a/b"), "*.png")) == str(Path("a/b/*.png"))
