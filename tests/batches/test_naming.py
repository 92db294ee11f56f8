from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambair_cli.batches.naming import FIELDS, NameTemplate
from mambair_cli.errors import UsageError

VALUES = {"task": "sr", "model": "light", "scale": 4, "sigma": None, "quality": None}


def name(template, source="shots/photo.jpg", extension=".jpg", index=7, values=VALUES):
    return NameTemplate.parse(template).with_values(values).name(Path(source), extension, index)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{stem}_{model}_x{scale}.{ext}", "photo_light_x4.jpg"),
        ("{name}.png", "photo.jpg.png"),
        ("{parent}-{stem}.{ext}", "shots-photo.jpg"),
        ("{index}.{ext}", "7.jpg"),
        ("{index:04}.{ext}", "0007.jpg"),
        ("{index:03d}.{ext}", "007.jpg"),
        ("{task}.{stem}.{ext}", "sr.photo.jpg"),
        ("{{{stem}}}.{ext}", "{photo}.jpg"),
        ("copy.TIFF", "copy.TIFF"),
    ],
)
def test_fields_are_filled_in(template, expected):
    assert name(template) == expected


def test_the_level_of_a_denoiser():
    values = {"task": "denoise", "model": "base", "scale": 1, "sigma": 25, "quality": None}
    assert name("{stem}_s{sigma}.{ext}", values=values) == "photo_s25.jpg"


def test_the_parent_of_a_bare_name_is_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name("{parent}.{ext}", source="a.png") == f"{tmp_path.name}.jpg"


def test_names_of_sources_are_never_read_as_templates():
    assert name("{stem}.{ext}", source="{model}{0.__class__}.png") == "{model}{0.__class__}.jpg"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stem}_{modell}.{ext}", "--name '{stem}_{modell}.{ext}': there is no {modell}"),
        ("{}.{ext}", "--name '{}.{ext}': there is no {}"),
        ("{0}.{ext}", "--name '{0}.{ext}': there is no {0}"),
        (
            "{stem.__class__}.{ext}",
            "--name '{stem.__class__}.{ext}': there is no {stem.__class__}",
        ),
        ("{stem[0]}.{ext}", "--name '{stem[0]}.{ext}': there is no {stem[0]}"),
        ("{stem}.{width}.{ext}", "--name '{stem}.{width}.{ext}': there is no {width}"),
    ],
)
def test_unknown_fields_are_refused_with_the_list_of_fields(template, message):
    with pytest.raises(UsageError) as caught:
        NameTemplate.parse(template)
    assert caught.value.message == message
    assert all(f"{{{field}}}" in caught.value.hint for field in FIELDS)


@pytest.mark.parametrize(
    "template",
    ["{stem!r}.{ext}", "{stem:>9999999999}.{ext}", "{index:99}.{ext}", "{index:{scale}}.{ext}"],
)
def test_formats_are_refused(template):
    with pytest.raises(UsageError, match="stands alone") as caught:
        NameTemplate.parse(template)
    assert caught.value.hint == "only the index may be filled up with zeros: {index:04}"


@pytest.mark.parametrize("template", ["{stem.{ext}", "stem}.{ext}", "{stem}.{ext"])
def test_unbalanced_braces_are_refused(template):
    with pytest.raises(UsageError) as caught:
        NameTemplate.parse(template)
    assert caught.value.message.startswith(f"--name {template!r}")


@pytest.mark.parametrize(
    "template", ["", "{stem}", "{stem}{ext}", "{ext}", "{stem}.txt", "{stem}."]
)
def test_a_name_without_extension_is_refused(template):
    with pytest.raises(UsageError) as caught:
        NameTemplate.parse(template)
    assert (
        caught.value.message == f"--name {template!r} does not end with the extension of an image"
    )
    assert caught.value.hint.startswith("end it with .{ext}, or with one of ")


@pytest.mark.parametrize("template", ["{stem}_s{sigma}.{ext}", "{stem}_q{quality}.{ext}"])
def test_what_a_run_does_not_have_is_refused(template):
    with pytest.raises(UsageError, match="is not the same for the whole run") as caught:
        name(template)
    assert caught.value.hint == "beside those of the file there are {task}, {model}, {scale}"


@pytest.mark.parametrize(
    "template",
    ["../{stem}.{ext}", "a/{stem}.{ext}", "/{stem}.{ext}", "a\0.{ext}", ".{ext}", ".mambair-1.png"],
)
def test_what_is_no_plain_name_is_refused(template):
    with pytest.raises(UsageError, match="which is no file name of an image") as caught:
        name(template)
    assert "-o" in caught.value.hint


def test_the_extension_that_a_template_spells_out():
    assert NameTemplate.parse("{stem}.PNG").extension == ".png"
    assert NameTemplate.parse("{stem}.{ext}").extension is None


def test_a_suffix_is_a_template_whose_braces_mean_nothing():
    assert NameTemplate.of_suffix("_{x}").name(Path("a.png"), ".webp", 1) == "a_{x}.webp"


@given(st.text(alphabet="{}.!:[]0ab/stemxind\\_", max_size=14))
def test_any_template_gives_a_plain_name_or_a_clear_error(text):
    with suppress(UsageError):
        plain = name(text + ".{ext}")
        assert Path(plain).name == plain
