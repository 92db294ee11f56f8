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
