"""What the user wants always: config.toml, variables, what wins, and what is refused."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from mambair_cli.cli.main import app
from mambair_cli.cli.preferences import file_path


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes a file of preferences."""
    path = tmp_path / "preferences" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setenv("MAMBAIR_CONFIG", str(path))

    def write(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def sr(enlarge, photo):
    """Enlarges the photo and names what was written."""

    def invoke(*arguments):
        outcome = enlarge(photo, "--scan", "torch", *arguments)
        assert outcome.status == 0, outcome.err
        return Path(outcome.lines[0])

    return invoke


def test_the_command_line_wins_over_variables_and_they_over_the_file(sr, config, monkeypatch):
    config("")
    assert sr().name == "photo_x2.png"
    config('suffix = "_all"\nformat = "webp"\n[sr]\nsuffix = "_mine"\n[denoise]\nsuffix = "_no"\n')
    assert sr().name == "photo_mine.webp"
    monkeypatch.setenv("MAMBAIR_SUFFIX", "_here")
    monkeypatch.setenv("MAMBAIR_QUALITY_OUT", "80")
    assert sr().name == "photo_here.webp"
    assert sr("--suffix", "_now").name == "photo_now.webp"
    monkeypatch.setenv("MAMBAIR_SUFFIX", "")
    assert sr("--format", "png").name == "photo_mine.png"


def test_flags_and_numbers(config, mambair, monkeypatch, photo, weights):
    """A wrong tile size ends the run: so each is seen to arrive."""
    command = "sr", photo.parent, "--weights", weights / "sr-x2.safetensors", "--scan", "torch"
    config("tile = 8\noverlap = 8\n")
    assert "overlap" in mambair(*command).err
    config("tile = 8\n")
    monkeypatch.setenv("MAMBAIR_OVERLAP", "8")
    assert mambair(*command).status == 2
    assert mambair(*command, "--tile", 32).status == 0
    config("recursive = false\n")
    monkeypatch.delenv("MAMBAIR_OVERLAP")
    Image.new("RGB", (9, 7)).save(
        (photo.parent / "inner").mkdir() or photo.parent / "inner" / "a.png"
    )
    assert len(mambair(*command, "--overwrite").lines) == 1
    assert len(mambair(*command, "--overwrite", "--recursive").lines) == 2


@pytest.mark.parametrize(
    ("preferred", "asked", "name"),
    [
        ('name = "{stem}-mine.{ext}"', ("--suffix", "_now"), "photo_now.png"),
        ('suffix = "_mine"', ("--name", "{stem}-now.{ext}"), "photo-now.png"),
        ('format = "webp"', ("--name", "{stem}-now.{ext}"), "photo-now.webp"),
        ('format = "webp"', ("--name", "{stem}-now.png"), "photo-now.png"),
        ('name = "{stem}-mine.png"', ("--format", "webp"), "photo_x2.webp"),
        ('format = "webp"', ("-o", "now.png"), "now.png"),
        ('name = "{stem}-mine.{ext}"', ("-o", "now.png"), "now.png"),
        ('model = "tiny"', (), "photo_x2.png"),  # --weights is given
    ],
)
def test_what_is_asked_now_overrules_what_it_excludes(sr, config, preferred, asked, name):
    config(preferred)
    assert sr(*asked).name == name


def test_preferences_that_exclude_each_other_are_refused(enlarge, photo, config):
    config('name = "{stem}.{ext}"\nsuffix = "_mine"\n')
    outcome = enlarge(photo)
    assert outcome.status == 2
    assert "--name and --suffix exclude each other" in outcome.err


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('devise = "cpu"', ": devise is no preference", "did you mean device?"),
        ("quality_out = 90", ": quality_out is no preference", "did you mean quality-out?"),
        ('output = "x"', ": output is no preference", "there are: "),
        ("overwrite = true", ": overwrite is no preference", None),
        ("[srr]", " [srr] is no preference", "did you mean sr?"),
        ("[models]\nlist = 3", " [models] is no preference", None),
        ('[sr]\nmodle = "tiny"', " [sr]: modle is no preference", "did you mean model?"),
        ("[bench]\ntile = 8", " [bench]: tile is no preference", None),
        ("quality-out = 300", ": quality-out = 300: ", "it is the value of --quality-out"),
        ("tile = 12.5", ": tile = 12.5: '12.5' is neither auto nor", None),
        ('precision = "fp8"', ": precision = fp8: ", None),
        ("ensemble = 1", ": ensemble = 1 is neither true nor false", "write one of them"),
        ("tile = true", ": tile = true is of a wrong kind", "it takes: auto|N|0"),
        ("tile = [8]", ": tile = [8] is of a wrong kind", None),
        ("tile =", " is not TOML: Invalid value (at end of document)", None),
    ],
)
def test_wrong_files_are_errors(mambair, config, text, message, hint):
    path = config(text)
    outcome = mambair("models", "list")
    assert outcome.status == 2
    assert f"error: {path}{message}" in outcome.err
    assert f"\nhint: {hint or ''}" in outcome.err
    assert outcome.out == ""


def test_a_file_that_is_no_text(mambair, config):
    config("").write_bytes(b"\xff\xfe\x00")
    assert "is not TOML" in mambair("models", "list").err
    assert mambair("--help").status == 0
    assert mambair("--version").status == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAMBAIR_TILE", "x", "MAMBAIR_TILE = x: 'x' is neither auto nor"),
        ("MAMBAIR_ENSEMBLE", "perhaps", "MAMBAIR_ENSEMBLE = perhaps: "),
        ("MAMBAIR_DEVCE", "cpu", "there is no MAMBAIR_DEVCE\n\nhint: did you mean MAMBAIR_DEVICE?"),
        ("MAMBAIR_CONFIG", "nosuch", "MAMBAIR_CONFIG names nosuch, which is no file"),
    ],
)
def test_wrong_variables_are_errors(mambair, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    outcome = mambair("models", "list")
    assert outcome.status == 2
    assert f"error: {message}" in outcome.err


def test_variables_of_others_are_none_of_ours(mambair, monkeypatch):
    monkeypatch.setenv("MAMBAIR_VERSION", "3")
    monkeypatch.setenv("MAMBAIR_OUTPUT_OF_MINE", "3")
    assert mambair("models", "list").status == 0


def test_a_failure_says_where_its_value_comes_from(mambair, config, photo, monkeypatch):
    path = config('model = "bar"\n[sr]\nmodel = "foo"\n')
    told = mambair("sr", photo).err
    assert "no variant 'foo'" in told
    assert told.endswith(f"\nmodel = foo comes from {path} [sr]\n")
    monkeypatch.setenv("MAMBAIR_MODEL", "baz")
    assert mambair("sr", photo).err.endswith("\nmodel = baz comes from MAMBAIR_MODEL\n")
    assert "comes from" not in mambair("sr", photo, "--model", "qux").err


def test_doctor_tells_what_is_in_force_and_from_where(mambair, config, monkeypatch):
    path = config('tile = 64\ndevice = "cpu"\n[sr]\nmodel = "tiny"\nensemble = true\n')
    monkeypatch.setenv("MAMBAIR_TILE", "128")
    told = mambair("doctor").out
    section = told[told.index("\npreferences") :].splitlines()[2:]
    assert [re.split(" {2,}", line.strip()) for line in section] == [
        ["file", str(path)],
        ["device", f"cpu, from {path}"],
        ["sr model", f"tiny, from {path} [sr]"],
        ["sr ensemble", f"true, from {path} [sr]"],
        ["tile", "128, from MAMBAIR_TILE"],
    ]
    report = json.loads(mambair("doctor", "--json").out)
    assert report["preferences_file"] == str(path)
    assert report["preferences"][-1] == {
        "key": "tile",
        "command": "",
        "value": "128",
        "origin": "MAMBAIR_TILE",
    }
    monkeypatch.delenv("MAMBAIR_TILE")
    monkeypatch.setenv("MAMBAIR_CONFIG", "")
    assert "\npreferences" not in mambair("doctor").out


def test_the_file_is_where_the_system_keeps_such_files(monkeypatch, tmp_path):
    monkeypatch.delenv("MAMBAIR_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert file_path() == tmp_path / "mambair" / "config.toml"
    assert file_path().name == "config.toml"
    assert file_path().parent.name == "mambair"


def test_requests_are_no_preferences():
    """What may be wanted always, and nothing that says what is done now or to which files."""
    command = typer.main.get_command(app).commands["sr"]
    assert {option.envvar for option in command.params if option.envvar} == {
        f"MAMBAIR_{name}"
        for name in (
            *("SUFFIX", "NAME", "FORMAT", "QUALITY_OUT", "RECURSIVE", "METADATA", "MAX_PIXELS"),
            *("MODEL", "ENSEMBLE", "STRENGTH", "DEVICE", "PRECISION", "SCAN", "TILE", "OVERLAP"),
            "MAX_MEMORY",
        )
    }


def test_the_tests_read_nobodys_preferences():
    assert {name for name in os.environ if name.startswith("MAMBAIR_")} == {
        "MAMBAIR_CONFIG",
        "MAMBAIR_HOME",
    }
    assert file_path() is None


def test_what_stands_in_the_place_of_the_file_is_an_error(mambair, monkeypatch, tmp_path):
    monkeypatch.delenv("MAMBAIR_CONFIG")
    path = file_path_below(tmp_path, monkeypatch)
    path.mkdir(parents=True)
    outcome = mambair("models", "list")
    assert outcome.status == 2
    assert f"error: {path} cannot be read: Is a directory" in outcome.err
    assert (
        "hint: check what you may do with it, or do without: MAMBAIR_CONFIG= mambair" in outcome.err
    )
    monkeypatch.setenv("MAMBAIR_CONFIG", "")
    assert mambair("models", "list").status == 0


def file_path_below(folder: Path, monkeypatch) -> Path:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: folder / "mambair")
    return folder / "mambair" / "config.toml"


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="no such device here")
def test_an_empty_device_is_an_empty_file(mambair, monkeypatch):
    monkeypatch.setenv("MAMBAIR_CONFIG", "/dev/null")
    assert mambair("models", "list").status == 0
    monkeypatch.setenv("MAMBAIR_CONFIG", "/dev")
    assert "MAMBAIR_CONFIG names /dev, which is no file" in mambair("models", "list").err


def test_nobody_without_a_home_has_a_file(mambair, monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MAMBAIR_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_path", homeless)
    assert file_path() is None
    assert mambair("models", "list").status == 0
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: Path("~/.config/x"))
    assert file_path() is None


@pytest.mark.parametrize("preferred", [False, True])
def test_a_wrong_choice_is_told_without_words_of_libraries(mambair, config, photo, preferred):
    config('metadata = "all"' if preferred else "")
    outcome = mambair("sr", photo, *(() if preferred else ("--metadata", "all")))
    assert outcome.status == 2
    assert "'all' is not one of 'keep'" in outcome.err
    assert "Value error" not in outcome.err
