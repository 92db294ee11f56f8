"""What the project says about itself in several places agrees."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCAN_PAGE = ROOT / "mambair_cli" / "kernels" / "scan" / "README.md"
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def canonical(requirement: str) -> str:
    """Name of a requirement as package indexes compare names."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def documents() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    return [*pages, *(ROOT / "integrations").glob("*/README.md"), SCAN_PAGE]


def prose(document: Path) -> list[str]:
    """Lines of a document but those that cannot be broken: code and pictures."""
    outside_fences = document.read_text().split("```")[::2]
    lines = [line for text in outside_fences for line in text.splitlines()]
    return [line for line in lines if not line.startswith(("    ", "!["))]


def readme_commands() -> list[str]:
    return [line.strip() for line in (ROOT / "README.md").read_text().splitlines() if SETUP in line]


def test_continuous_integration_runs_the_test_command_of_the_readme():
    (tests,) = [command for command in readme_commands() if command.endswith("pytest")]
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_runs_the_main_job_on_an_image_that_is_there():
    (job,) = [command for command in readme_commands() if not command.endswith("pytest")]
    _, arguments = job.split("&& .venv/bin/mambair ")
    assert arguments.startswith("sr --scale 4 ")
    assert (ROOT / arguments.split()[-1]).is_file()


def test_every_dependency_is_pinned(project):
    metadata = project["project"]
    wanted = [*metadata["dependencies"]]
    wanted += metadata["optional-dependencies"]["test"] + metadata["optional-dependencies"]["dev"]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line) for line in pins if not line.startswith("#")}
    assert {canonical(requirement) for requirement in wanted} - {"mambair"} <= pinned


def test_changelog_names_the_version_or_is_unreleased(project):
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{project['project']['version']}]" in text


def test_documents_link_to_files_that_exist():
    for document in documents():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[)#]", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_documents_name_modules_that_exist():
    for document in documents():
        places = [ROOT, ROOT / "mambair_cli", document.parent, document.parents[1]]
        for path in re.findall(r"`([\w/]+\.py)\b", document.read_text()):
            assert any((place / path).is_file() for place in places), f"{document.name}: {path}"


def test_lines_of_documents_fit_a_terminal():
    for document in documents():
        assert [line for line in prose(document) if len(line) >= 120] == [], document


def test_documented_commands_are_understood():
    """Every `mambair` line of the documents names a command and options that exist."""
    blocks = "\n".join(
        document.read_text() for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    )
    from typer.main import get_command

    from mambair_cli.cli.main import app

    commands = get_command(app).commands
    for line in re.findall(r"^ {4}mambair (.+)$", blocks, re.MULTILINE):
        words = line.split("#")[0].split()
        command = commands[words[0]]
        if words[0] == "models":
            command = command.commands[words[1]]
        known = {
            word
            for parameter in command.params
            for word in (*parameter.opts, *parameter.secondary_opts)
        }
        used = {word for word in words if word.startswith("-") and word != "-"}
        assert used <= known, line
