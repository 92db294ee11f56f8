"""Build the source archive and the wheel, and check what they hold and say.

    python release/check.py            # into dist/

It needs a checkout, and `build` and `twine` beside the package. A tag is set where it passes.
"""

from __future__ import annotations

import email
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LICENCES = ("LICENSE", "NOTICE")


def project() -> dict:
    """Return what pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tracked() -> set[str]:
    """Return every file of the repository, by its path in it."""
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.splitlines())


def expected_in_wheel(files: set[str], version: str) -> set[str]:
    """Return the paths that a wheel has to hold, and nothing beside them.

    Args:
        files: Those of the repository.
        version: Of the project.
    """
    made = f"mambair-{version}.dist-info"
    own = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
    placed = {
        "mambair_cli": "mambair_cli",
        "weights": "mambair_cli/weights",
        "share": f"mambair-{version}.data/data/share",
    }
    return {
        *(f"{made}/{name}" for name in own),
        *(f"{made}/licenses/{name}" for name in LICENCES),
        *(
            f"{placed[folder]}/{rest}"
            for folder, _, rest in (path.partition("/") for path in files)
            if folder in placed
        ),
    }


def differences(found: set[str], expected: set[str]) -> Iterator[str]:
    """Name what an archive lacks, and what it should not hold."""
    yield from (f"is missing: {path}" for path in sorted(expected - found))
    yield from (f"should not be there: {path}" for path in sorted(found - expected))


def changelog_faults(text: str, version: str) -> Iterator[str]:
    """Say what CHANGELOG.md lacks for a release of a version."""
    headings = re.findall(r"^## \[([^\]]+)\](.*)$", text, re.MULTILINE)
    if not headings or headings[0][0] != "Unreleased":
        yield "does not begin with Unreleased"
    dated = [name for name, rest in headings if re.fullmatch(r" - \d{4}-\d\d-\d\d", rest)]
    if version not in dated:
        yield f"has no dated section for {version}"


def metadata_faults(text: str, described: dict) -> Iterator[str]:
    """Say where the metadata of a wheel differ from pyproject.toml."""
    told = email.message_from_string(text)
    wanted = {
        "Name": described["name"],
        "Version": described["version"],
        "Requires-Python": described["requires-python"],
        "License-Expression": described["license"],
        "Description-Content-Type": "text/markdown",
    }
    for name, value in wanted.items():
        if told[name] != value:
            yield f"{name} is {told[name]}, not {value}"
    extras = set(described["optional-dependencies"])
    if set(told.get_all("Provides-Extra", [])) != extras:
        yield "the extras are others"
    plain = [each for each in told.get_all("Requires-Dist", []) if "extra ==" not in each]
    if len(plain) != len(described["dependencies"]):
        yield "the dependencies are others"
    if not told.get_payload():
        yield "there is no description"


def runs(wheel: Path, version: str) -> Iterator[str]:
    """Say what fails where the wheel alone is installed."""
    with tempfile.TemporaryDirectory() as folder:
        install = ["install", "--quiet", "--no-deps", "--target", folder, str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", *install], check=True)
        environment = os.environ | {"PYTHONPATH": folder, "MAMBAIR_CONFIG": ""}
        for arguments, answer in (
            (["--version"], f"mambair {version}\n"),
            (["models", "path", "mambair-tiny-sr-x2"], folder),
        ):
            done = subprocess.run(
                [sys.executable, "-P", "-m", "mambair_cli", *arguments],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode or not done.stdout.startswith(answer):
                yield f"mambair {' '.join(arguments)}: {done.stdout}{done.stderr}"


def faults(folder: Path) -> Iterator[str]:
    """Build both archives into an empty folder, and say what is wrong with them."""
    described, files = project(), tracked()
    version = described["version"]
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    source = folder / f"mambair-{version}.tar.gz"
    wheel = folder / f"mambair-{version}-py3-none-any.whl"
    if {source, wheel} != set(folder.iterdir()):
        yield f"built: {', '.join(path.name for path in folder.iterdir())}"
        return
    with zipfile.ZipFile(wheel) as archive:
        for fault in differences(set(archive.namelist()), expected_in_wheel(files, version)):
            yield f"{wheel.name}: {fault}"
        metadata = archive.read(f"mambair-{version}.dist-info/METADATA").decode()
    yield from (f"{wheel.name}: {fault}" for fault in metadata_faults(metadata, described))
    with tarfile.open(source) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    yield from (f"{source.name}: {each}" for each in differences(found, files | {"PKG-INFO"}))
    checked = [sys.executable, "-m", "twine", "check", "--strict", str(source), str(wheel)]
    if subprocess.run(checked, check=False).returncode:
        yield "twine refuses it"
    yield from runs(wheel, version)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    yield from (f"CHANGELOG.md {fault}" for fault in changelog_faults(changes, version))


def main() -> int:
    """Build into `dist/`; return 1 where anything is wrong."""
    for tool in ("build", "twine"):
        if importlib.util.find_spec(tool) is None:
            print(f"{tool} is not installed: python -m pip install build twine")
            return 1
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    found = list(faults(folder))
    for fault in found:
        print(f"fault: {fault}")
    if not found:
        print("sound:", *sorted(folder.iterdir()))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
