"""Damaged files and files that lie: a clear error or a right image, in little time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from bombs import bombs
from damage import damaged
from image_files import image_files
from read_many import read_apart

from mambair_cli.imaging.files import can_band

GIBIBYTE = 2**30
# What is missing must not be made up; other damage to a format without checksums goes unnoticed.
CUTS = ("truncate", "truncate_end")


@dataclass(frozen=True)
class Damaged:
    """A damaged file, what it was made of, and how."""

    path: Path
    intact: Path
    kind: str


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The files before they are damaged, by path, and what they hold."""
    folder = tmp_path_factory.mktemp("intact")
    paths = []
    for file in image_files():
        paths.append(folder / file.id)
        paths[-1].write_bytes(file.make())
    return {outcome.path: outcome for outcome in read_apart("images", paths)}


def corpus(folder, intact, count, seed):
    """Damages the files in turn."""
    paths = [path for path, outcome in intact.items() if outcome.kind == "read"]
    contents = [path.read_bytes() for path in paths]
    for number, (index, kind, content) in enumerate(damaged(contents, count, seed)):
        path = folder / f"{number:05} {kind} {paths[index].name}"
        path.write_bytes(content)
        yield Damaged(path, paths[index], kind)


def assert_sound(outcome, *, seconds=10):
    """A file was read, or refused in one clear line; nothing else happened."""
    assert outcome.kind in ("read", "refused"), outcome
    assert outcome.seconds < seconds, outcome
    assert outcome.peak < 3 * GIBIBYTE, outcome
    if outcome.kind == "refused":
        assert str(outcome.path) in outcome.message
        assert outcome.message.isprintable(), outcome
        assert len(outcome.message) < 1000, outcome
        assert not outcome.message.endswith((":", " ")), outcome
        assert outcome.hint


@pytest.mark.parametrize(
    ("count", "seed"), [(100, 0), pytest.param(8000, 1, marks=pytest.mark.slow)]
)
def test_damage_gives_an_error_or_an_image(tmp_path, intact, count, seed):
    files = list(corpus(tmp_path, intact, count, seed))
    outcomes = read_apart("images", [file.path for file in files], seconds=60 + count / 10)
    for file, outcome in zip(files, outcomes, strict=True):
        assert_sound(outcome)
        if file.kind in CUTS and outcome.kind == "read":
            whole = intact[file.intact].result
            # A lost end of JPEG's last block may look like one whose end is not marked: it is told.
            same = ("shapes",) if file.path.suffix in (".jpg", ".jpeg") else ("shapes", "digest")
            assert all(outcome.result[part] == whole[part] for part in same), (file, outcome)
    kinds = [outcome.kind for outcome in outcomes]
    assert kinds.count("refused") > count // 3
    assert kinds.count("read") > count // 20


@pytest.mark.parametrize(
    ("count", "seed"), [(40, 2), pytest.param(4000, 3, marks=pytest.mark.slow)]
)
def test_bands_of_a_damaged_file_are_the_image_or_an_error(tmp_path, intact, count, seed):
    bandable = {
        path: outcome
        for path, outcome in intact.items()
        if can_band(path) and outcome.kind == "read" and len(outcome.result["shapes"]) == 1
    }
    files = list(corpus(tmp_path, bandable, count, seed))
    paths = [file.path for file in files]
    whole = read_apart("images", paths, seconds=60 + count / 10)
    bands = read_apart("bands", paths, seconds=60 + count / 10)
    for of_whole, of_bands in zip(whole, bands, strict=True):
        assert_sound(of_bands)
        if of_whole.kind == of_bands.kind == "read":
            assert of_bands.result == of_whole.result, of_bands


@pytest.mark.parametrize("reader", ["images", "bands"])
def test_files_that_lie(tmp_path, reader):
    paths = []
    for name, content in bombs():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    outcomes = {outcome.path.name: outcome for outcome in read_apart(reader, paths)}
    for outcome in outcomes.values():
        assert_sound(outcome)
    assert outcomes["as it should be.tif"].kind == "read"
    for name, outcome in outcomes.items():
        if name.startswith(("claims", "huge", "impossible", "nothing but", "noise after")):
            assert outcome.kind == "refused", outcome
