import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_disks import ask_a_disk_without_case

from mambair_cli.batches.jobs import plan_jobs
from mambair_cli.batches.naming import NameTemplate
from mambair_cli.batches.sources.inputs import Pattern
from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging import formats


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def plan(
    *inputs,
    output=None,
    suffix="_x4",
    format=None,  # noqa: A002
    recursive=False,
    overwrite=False,
    name=None,
):
    jobs = plan_jobs(
        [Path(name) for name in inputs],
        output=None if output is None else Path(output),
        suffix=suffix,
        format=format,
        recursive=recursive,
        overwrite=overwrite,
        name=name,
    )
    return [(job.source.as_posix(), job.target.as_posix()) for job in jobs]


@pytest.mark.usefixtures("folder")
class TestWhereResultsGo:
    def test_beside_the_input(self):
        touch("a/photo.png", "b/shot.JPG")
        assert plan("a/photo.png", "b/shot.JPG") == [
            ("a/photo.png", "a/photo_x4.png"),
            ("b/shot.JPG", "b/shot_x4.JPG"),
        ]

    def test_what_cannot_be_written_here_becomes_png_and_is_told(self, monkeypatch):
        monkeypatch.setattr(formats, "is_writable", lambda entry: entry.writer is None)
        touch("IMG_1.HEIC", "a.jxl", "b.png")
        jobs = plan_jobs(
            [Path(name) for name in ("IMG_1.HEIC", "a.jxl", "b.png")],
            output=None,
            suffix="_x4",
            format=None,
            recursive=False,
            overwrite=False,
        )
        assert [job.target.name for job in jobs] == ["IMG_1_x4.png", "a_x4.png", "b_x4.png"]
        assert [job.changed for job in jobs] == [
            "HEIC written as PNG (pip install 'mambair[heic]' writes HEIC)",
            "JPEG XL written as PNG (pip install 'mambair[jxl]' writes JPEG XL)",
            None,
        ]
        assert plan("IMG_1.HEIC", format="png") == [("IMG_1.HEIC", "IMG_1_x4.png")]

    def test_into_a_new_directory(self):
        touch("photo.png")
        assert plan("photo.png", output="out") == [("photo.png", "out/photo_x4.png")]

    def test_into_an_existing_directory_whatever_its_name(self):
        touch("photo.png", "out.png/other.txt")
        assert plan("photo.png", output="out.png") == [("photo.png", "out.png/photo_x4.png")]

    def test_to_a_named_file(self):
        touch("photo.png")
        assert plan("photo.png", output="best.webp") == [("photo.png", "best.webp")]

    def test_trees_are_mirrored(self):
        touch("shots/2.png", "shots/a/1.png", "shots/a/b/3.jpg")
        assert plan("shots", output="out", recursive=True) == [
            ("shots/2.png", "out/2_x4.png"),
            ("shots/a/1.png", "out/a/1_x4.png"),
            ("shots/a/b/3.jpg", "out/a/b/3_x4.jpg"),
        ]

    def test_an_empty_suffix_keeps_the_names(self):
        touch("shots/2.png")
        assert plan("shots", output="out", suffix="") == [("shots/2.png", "out/2.png")]

    @pytest.mark.parametrize("format", ["webp", ".webp", "WEBP"])
    def test_in_another_format(self, format):  # noqa: A002
        touch("photo.tif")
        assert plan("photo.tif", format=format) == [("photo.tif", "photo_x4.webp")]

    def test_a_file_named_outright_is_tried_whatever_its_suffix(self):
        touch("scan", "image.dat")
        assert plan("scan", "image.dat") == [("scan", "scan_x4.png"), ("image.dat", "image_x4.png")]


@pytest.mark.usefixtures("folder")
class TestWhatIsTakenOfADirectory:
    def test_visible_images_of_supported_formats(self):
        touch("d/b.png", "d/a.JPEG", "d/notes.txt", "d/.hidden.png", "d/._a.JPEG", "d/.git/x.png")
        Path("d/folder.png").mkdir()
        assert [source for source, _ in plan("d", recursive=True)] == ["d/a.JPEG", "d/b.png"]

    def test_sub_directories_only_when_asked(self):
        touch("d/a.png", "d/sub/b.png")
        assert [source for source, _ in plan("d")] == ["d/a.png"]

    def test_not_the_output_directory_inside_it(self):
        touch("data/1.png", "data/out/1_x4.png", "data/outdoor/2.png")
        for output in ("data/out", "data/../data/out"):
            sources = [source for source, _ in plan("data", output=output, recursive=True)]
            assert sources == ["data/1.png", "data/outdoor/2.png"]

    def test_not_the_output_directory_under_another_spelling(self):
        touch("data/1.png", "data/out/1_x4.png")
        Path("elsewhere").symlink_to("data/out")
        assert [s for s, _ in plan("data", output="elsewhere", recursive=True)] == ["data/1.png"]

    def test_the_directory_itself_may_be_the_output(self):
        touch("data/1.png")
        assert plan("data", output="data") == [("data/1.png", "data/1_x4.png")]

    def test_not_the_results_of_an_earlier_run(self):
        touch("d/photo.jpg", "d/photo_x4.jpg", "d/photo_x4.png", "d/photo_x4_x4.png")
        assert plan("d", overwrite=True) == [("d/photo.jpg", "d/photo_x4.jpg")]

    def test_but_images_that_merely_look_like_a_result(self):
        touch("d/photo_x4.png", "d/sub/photo.png")
        assert [s for s, _ in plan("d", recursive=True)] == ["d/photo_x4.png", "d/sub/photo.png"]

    def test_and_results_that_are_named_outright(self):
        touch("photo.png", "photo_x4.png")
        assert plan("photo_x4.png") == [("photo_x4.png", "photo_x4_x4.png")]

    def test_a_file_named_twice_is_one_job(self):
        touch("d/a.png")
        assert plan("d/a.png", "d", "d/../d/a.png") == [("d/a.png", "d/a_x4.png")]


def refusal(*inputs, **options):
    with pytest.raises(UsageError) as caught:
        plan(*inputs, **options)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.usefixtures("folder")
class TestRefusedBeforeAnyWork:
    def test_a_directory_without_images(self):
        touch("d/notes.txt")
        with pytest.raises(UsageError, match=r"^d has no images$") as caught:
            plan("d", recursive=True)
        assert ".png" in caught.value.hint
        assert ".webp" in caught.value.hint

    def test_a_directory_with_images_further_down(self):
        touch("d/sub/a.png")
        with pytest.raises(UsageError, match="only in its sub-directories") as caught:
            plan("d")
        assert "-r" in caught.value.hint

    def test_equal_names_from_two_directories(self):
        touch("a/1.jpg", "b/1.jpg")
        assert refusal("a", "b", output="out") == (
            "a/1.jpg and b/1.jpg would both be written to out/1_x4.jpg"
        )

    def test_equal_stems_in_one_format(self):
        touch("1.png", "1.jpg")
        assert refusal("1.png", "1.jpg", format="png") == (
            "1.png and 1.jpg would both be written to 1_x4.png"
        )

    @pytest.mark.parametrize(
        "names", [("A.png", "a.png"), ("caf\u00e9.png", "cafe\u0301.png")], ids=["case", "accent"]
    )
    def test_names_that_are_equal_on_some_file_systems(self, names, monkeypatch):
        touch(f"1/{names[0]}", f"2/{names[1]}")
        asked = ask_a_disk_without_case(monkeypatch)
        assert "would both be written to" in refusal("1", "2", output="out")
        assert asked == [Path("out").absolute()]

    def test_output_is_the_input(self):
        touch("photo.png")
        assert refusal("photo.png", output="photo.png", overwrite=True) == (
            "the result would be written over the input photo.png"
        )

    @pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
    def test_output_is_the_input_through_a_link(self, link):
        touch("photo.png")
        link("photo.png", "same.png")
        assert refusal("photo.png", output="same.png", overwrite=True) == (
            "the result would be written over the input photo.png (same.png is the same file)"
        )

    def test_output_is_the_input_under_another_spelling(self):
        touch("d/photo.png")
        assert "over the input" in refusal("d/photo.png", output="d/../d/photo.png", overwrite=True)

    def test_output_is_another_input(self):
        touch("photo.png", "photo_x4.png")
        assert refusal("photo.png", "photo_x4.png", overwrite=True) == (
            "the result would be written over the input photo_x4.png"
        )

    def test_a_tree_onto_itself_without_suffix(self):
        touch("d/photo.png")
        assert "over the input d/photo.png" in refusal("d", output="d", suffix="", overwrite=True)

    def test_one_output_file_for_several_images(self):
        touch("a.png", "d/b.png")
        assert refusal("a.png", "d/b.png", output="o.png") == (
            "o.png names one file, but more than one image may be written"
        )
        assert "names one file" in refusal("d", output="o.png")

    def test_several_images_into_a_file(self):
        touch("a.png", "b.png", "out")
        assert refusal("a.png", "b.png", output="out") == (
            "out is a file, but more than one image may be written"
        )

    def test_an_output_that_cannot_be_written(self):
        touch("a.png")
        assert refusal("a.png", output="o.psd") == "o.psd: images cannot be written as .psd"
        assert refusal("a.png", format="psd") == "format 'psd' cannot be written"

    def test_an_output_against_the_format(self):
        touch("a.png")
        assert refusal("a.png", output="o.jpg", format="png") == (
            "o.jpg does not end in the requested format .png"
        )


def test_existing_outputs_are_refused_one_by_one(folder):
    touch("d/a.png", "d/a_x4.png", "d/b.png")
    arguments = {"output": None, "suffix": "_x4", "format": None, "recursive": False}
    first, second = plan_jobs([Path("d")], **arguments, overwrite=False)
    assert isinstance(first.refusal, OutputError)
    assert first.refusal.message == "d/a_x4.png exists already"
    assert "--overwrite" in first.refusal.hint
    assert "--resume" in first.refusal.hint
    assert second.refusal is None
    assert [job.refusal for job in plan_jobs([Path("d")], **arguments, overwrite=True)] == [
        None
    ] * 2
    assert not list(folder.glob("d/b_x4*"))


def records_of(*inputs, output=None, **options):
    jobs = plan_jobs(
        [Path(name) for name in inputs],
        output=None if output is None else Path(output),
        suffix="_x4",
        format=None,
        recursive=True,
        overwrite=False,
        **options,
    )
    return [job.record.as_posix() for job in jobs]


@pytest.mark.usefixtures("folder")
class TestWhereTheRecordIs:
    def test_in_the_output_directory_for_the_whole_tree(self):
        touch("in/a.png", "in/deep/b.png")
        assert records_of("in", output="out") == ["out", "out"]

    def test_beside_each_result_without_one(self):
        touch("in/a.png", "in/deep/b.png")
        assert records_of("in") == ["in", "in/deep"]

    def test_beside_a_result_that_is_named(self):
        touch("a.png")
        assert records_of("a.png", output="best/b.png") == ["best"]
        assert records_of("a.png", output="b.png") == ["."]

    @pytest.mark.parametrize("output", ["out", "./out", "in/../out"])
    def test_every_target_is_under_its_record(self, output):
        touch("in/a.png", "in/deep/b.png")
        for job in plan_jobs(
            [Path("in"), Pattern(Path("in"), "**/*.png")],
            output=Path(output),
            suffix="",
            format=None,
            recursive=True,
            overwrite=False,
        ):
            assert job.target.is_relative_to(job.record)


@pytest.mark.usefixtures("folder")
class TestTemplates:
    def planned(self, *inputs, template, **options):
        name = NameTemplate.parse(template).with_values({"scale": 4, "model": "light"})
        return plan(*inputs, name=name, **options)

    def test_name_the_results_in_their_folders(self):
        touch("in/a.png", "in/deep/b.jpg")
        assert self.planned("in", template="{stem} {scale}.{ext}", output="o", recursive=True) == [
            ("in/a.png", "o/a 4.png"),
            ("in/deep/b.jpg", "o/deep/b 4.jpg"),
        ]

    def test_number_the_whole_batch(self):
        touch("in/a.png", "in/b.png", "z.png")
        assert [
            target for _, target in self.planned("z.png", "in", template="{index:02}.{ext}")
        ] == ["01.png", "in/02.png", "in/03.png"]

    def test_may_spell_out_the_format(self):
        touch("a.jpg", "scan")
        assert self.planned("a.jpg", "scan", template="{name}.webp") == [
            ("a.jpg", "a.jpg.webp"),
            ("scan", "scan.webp"),
        ]

    def test_may_collide(self):
        touch("a.png", "a.jpg")
        with pytest.raises(UsageError, match=r"would both be written to a!\.png"):
            self.planned("a.png", "a.jpg", template="{stem}!.png")


@pytest.mark.usefixtures("folder")
def test_a_suffix_with_a_folder_in_it_is_refused():
    touch("a.png")
    assert refusal("a.png", suffix="/../../b") == (
        "a.png cannot be written as 'a/../../b.png', which is no file name of an image"
    )


TREES = st.lists(
    st.sampled_from(["a", "b", "B", "a_x4", "c"]).flatmap(
        lambda stem: st.sampled_from([".png", ".jpg", ".PNG"]).map(lambda suffix: stem + suffix)
    ),
    unique=True,
    max_size=6,
)


@settings(max_examples=40)
@given(TREES, TREES, st.sampled_from(["", "_x4"]), st.sampled_from([None, "png"]))
def test_any_plan_spares_every_input_and_writes_each_result_once(top, deep, suffix, format):  # noqa: A002
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in" / "deep").mkdir(parents=True)
        for name in top:
            (root / "in" / name).touch()
        for name in deep:
            (root / "in" / "deep" / name).touch()
        for output in (None, root / "out", root / "in"):
            with contextlib.suppress(UsageError):
                jobs = plan_jobs(
                    [root / "in"],
                    output=output,
                    suffix=suffix,
                    format=format,
                    recursive=True,
                    overwrite=True,
                )
                sources = {job.source for job in jobs}
                targets = {str(job.target) for job in jobs}
                assert len(sources) == len(targets) == len(jobs)
                assert not sources & {job.target for job in jobs}
