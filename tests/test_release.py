"""What is made at a release: the manual page and completions, and that they are the program's."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mambair_cli.cli.main import run

ROOT = Path(__file__).parents[1]


def script(name: str):
    """A script of `release/`, imported."""
    spec = importlib.util.spec_from_file_location(
        f"release_{name}", ROOT / "release" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_what_the_program_says():
    """After a change of options: `python release/generate.py`."""
    generated = script("generate").generated()
    kept = {
        path.relative_to(ROOT / "share").as_posix(): path.read_text(encoding="utf-8")
        for path in (ROOT / "share").rglob("*")
        if path.is_file()
    }
    assert kept.keys() == generated.keys()
    for place, text in generated.items():
        assert kept[place] == text, f"{place}: run python release/generate.py"


MAN = shutil.which("man")


@pytest.mark.skipif(MAN is None, reason="needs man")
def test_the_manual_page_is_sound_roff():
    page = ROOT / "share" / "man" / "man1" / "mambair.1"
    done = subprocess.run(
        [MAN, "--warnings=all", "-l", page], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert re.search(r"^ +-o, --output TEXT$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("shell", "asked", "words"),
    [
        ("bash", {"COMP_WORDS": "mambair models sh", "COMP_CWORD": "2"}, "show"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "mambair models sh"}, '"show"'),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "mambair sr --model ti",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "tiny",
        ),
    ],
)
def test_shells_are_answered(monkeypatch, capfd, shell, asked, words):
    monkeypatch.setenv("_MAMBAIR_COMPLETE", f"complete_{shell}")
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert run([]) == 0
    assert words in capfd.readouterr().out


@pytest.mark.parametrize(("typed", "status"), [("mambair sr --model t", 0), ("mambair sr x", 1)])
def test_fish_is_told_by_the_status_whether_there_are_words(monkeypatch, typed, status):
    monkeypatch.setenv("_MAMBAIR_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
    assert run([]) == status


def test_the_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    quoted = re.compile(
        rf"""version\w*["']?\s*[:=]\s*["']{re.escape(version)}["']""", re.IGNORECASE
    )
    folders = ("mambair_cli", "release")
    files = [*ROOT.glob("*"), *(path for name in folders for path in (ROOT / name).rglob("*"))]
    kinds = {".py", ".toml", ".cfg", ".json", ".in", ""}
    text = [path for path in files if path.is_file() and path.suffix in kinds]
    naming = [path.name for path in text if quoted.search(path.read_text(errors="replace"))]
    assert naming == ["pyproject.toml"]


@pytest.fixture(scope="module")
def check():
    return script("check")


def test_a_wheel_holds_package_weights_pages_and_licences_and_nothing_else(check):
    files = {
        *("mambair_cli/cli/main.py", "weights/a.safetensors", "share/man/man1/mambair.1"),
        *("tests/test_x.py", "README.md", "LICENSE", "NOTICE"),
    }
    expected = check.expected_in_wheel(files, "1.2")
    assert expected == {
        "mambair_cli/cli/main.py",
        "mambair_cli/weights/a.safetensors",
        "mambair-1.2.data/data/share/man/man1/mambair.1",
        *(f"mambair-1.2.dist-info/{own}" for own in ("METADATA", "WHEEL", "RECORD")),
        *(f"mambair-1.2.dist-info/{own}" for own in ("entry_points.txt", "licenses/LICENSE")),
        "mambair-1.2.dist-info/licenses/NOTICE",
    }
    found = expected - {"mambair_cli/cli/main.py"} | {"tests/test_x.py"}
    assert list(check.differences(found, expected)) == [
        "is missing: mambair_cli/cli/main.py",
        "should not be there: tests/test_x.py",
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("## [Unreleased]\n\n## [1.2] - 2026-01-02\n\n## [1.1] - 2025-01-02\n", []),
        ("## [1.2] - 2026-01-02\n", ["does not begin with Unreleased"]),
        ("## [Unreleased]\n## [1.2]\n", ["has no dated section for 1.2"]),
        ("## [Unreleased]\n## [1.1] - 2026-01-02\n", ["has no dated section for 1.2"]),
    ],
)
def test_a_release_has_a_dated_section_in_the_changelog(check, text, faults):
    assert list(check.changelog_faults(text, "1.2")) == faults


def test_metadata_are_those_of_the_project(check):
    described = check.project()
    extras = described["optional-dependencies"]
    lines = [
        f"Name: {described['name']}",
        f"Version: {described['version']}",
        f"Requires-Python: {described['requires-python']}",
        f"License-Expression: {described['license']}",
        "Description-Content-Type: text/markdown",
        *(f"Provides-Extra: {name}" for name in extras),
        *(f"Requires-Dist: {each}" for each in described["dependencies"]),
        *(f"Requires-Dist: {each}; extra == 'x'" for each in extras["cuda"]),
    ]
    page = "\n\n# mambair\n"
    assert list(check.metadata_faults("\n".join(lines) + page, described)) == []
    wrong = {"Version": "9", "Requires-Python": ">=2"}
    changed = [
        f"{name}: {wrong[name]}" if (name := line.partition(":")[0]) in wrong else line
        for line in lines
    ]
    told = list(check.metadata_faults("\n".join(changed[:-3]), described))
    assert [fault.split()[0] for fault in told] == ["Version", "Requires-Python", "the", "there"]


def test_licences_are_installed_with_the_package(check):
    assert check.project()["license-files"] == list(check.LICENCES)
    for name in check.LICENCES:
        assert (ROOT / name).is_file()


def test_the_image_is_made_of_files_that_are_there():
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    context = (ROOT / ".dockerignore").read_text().splitlines()
    assert context[1] == "*"
    assert {line[1:] for line in context if line.startswith("!")} == set(copied)
    assert all((ROOT / source).exists() for source in copied)
    stage = "\n".join(lines).rpartition("\nFROM ")[2]
    assert "\nUSER mambair\n" in stage.partition("RUN cd")[0]  # nothing is run as root after it
    assert stage.count("USER") == 1
