"""`--name`: results named by a template."""

from __future__ import annotations


def message(outcome):
    assert (outcome.status, outcome.out) == (2, ""), outcome.err
    return outcome.err.split("error: ")[1].partition("\n\n")[0]


def test_a_template_names_the_results(enlarge, images):
    images("in/a.png", "in/deep/b.jpg")
    outcome = enlarge("in", "-o", "out", "--name", "{stem}_{model}_x{scale}.{ext}")
    assert outcome.lines == ["out/a_test-sr-x2_x2.png", "out/deep/b_test-sr-x2_x2.jpg"]


def test_known_models_are_named_by_their_variant(mambair, make_image, tmp_path):
    image = make_image(tmp_path / "a.png")
    outcome = mambair("sr", image, "--model", "tiny", "--name", "{task}-{model}-{scale}.webp")
    assert outcome.lines == [str(tmp_path / "sr-tiny-4.webp")]


def test_a_dry_run_names_them_too(enlarge, images):
    images("a.png", "b.png")
    outcome = enlarge("a.png", "b.png", "--dry-run", "--name", "{index:03}-{parent}.{ext}")
    assert outcome.status == 0
    assert "would write 002-" in outcome.err


def test_results_beside_their_sources_are_no_inputs_of_the_next_run(enlarge, images):
    images("in/a.png", "in/b.png")
    arguments = ("in", "--name", "large {stem}.{ext}")
    assert enlarge(*arguments).lines == ["in/large a.png", "in/large b.png"]
    again = enlarge(*arguments, "--resume")
    assert (again.status, again.lines) == (0, [])
    assert "2 skipped in " in again.err


def test_the_format_of_a_template_and_of_the_option_must_agree(enlarge, images):
    images("a.png")
    assert message(enlarge("a.png", "--name", "{stem}.png", "--format", "jpg")) == (
        "--name '{stem}.png' does not end in the requested format .jpg"
    )
    assert enlarge("a.png", "--name", "{stem}!.jpg", "--format", "jpg").lines == ["a!.jpg"]


def test_a_template_and_a_file_name_exclude_each_other(enlarge, images):
    images("a.png")
    assert message(enlarge("a.png", "--name", "{stem}.{ext}", "-o", "b.png")) == (
        "--name '{stem}.{ext}' and -o b.png both name the result"
    )


def test_names_that_collide_are_refused(enlarge, images):
    images("in/a.png", "in/b.png")
    assert message(enlarge("in", "-o", "out", "--name", "photo.{ext}")) == (
        "in/a.png and in/b.png would both be written to out/photo.png"
    )


def test_a_result_is_never_an_input(enlarge, images):
    images("a.png")
    assert message(enlarge("a.png", "--name", "{name}", "--overwrite")).startswith(
        "--name '{name}'"
    )
    assert message(enlarge("a.png", "--name", "{stem}.{ext}", "--overwrite")) == (
        "the result would be written over the input a.png"
    )


def test_no_name_leaves_the_output_directory(enlarge, images):
    images("a.png")
    assert message(enlarge("a.png", "-o", "out/", "--name", "../{stem}.{ext}")) == (
        "a.png cannot be written as '../a.png', which is no file name of an image"
    )


def test_what_each_file_decides_cannot_be_named(mambair, make_image, tmp_path):
    image = make_image(tmp_path / "a.jpg")
    outcome = mambair("dejpeg", image, "--name", "{stem}_{model}.{ext}")
    assert message(outcome).startswith(
        "--name '{stem}_{model}.{ext}': {model} is not the same for the whole run"
    )
    assert "beside those of the file there are {task}, {scale}" in outcome.err
