"""What a killed process left is removed; what a living one writes is not."""

import subprocess
import sys

import pytest

from mambair_cli.imaging.writing.whole_file import remove_unfinished, whole_file

WRITE_AND_WAIT = """
import sys
from pathlib import Path
from mambair_cli.imaging.writing.whole_file import whole_file

with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def leftovers(folder):
    return [path.name for path in folder.glob(".mambair-*.tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a POSIX signal")
def test_of_a_process_that_lives_and_then_is_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, tmp_path / "a.png"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        (name,) = leftovers(tmp_path)
        assert remove_unfinished([tmp_path]) == 0
        assert leftovers(tmp_path) == [name]
        process.kill()
        process.wait()
    assert leftovers(tmp_path) == [name]
    assert remove_unfinished([tmp_path]) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_this_process_writes_stays(tmp_path):
    with whole_file(tmp_path / "a.png") as file:
        file.write(b"picture")
        assert remove_unfinished([tmp_path]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_nothing_else_is_removed(tmp_path):
    kept = [".mambair-manifest.jsonl", ".mambair-manifest-1-of-2.jsonl", "a.tmp", "photo.png"]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".mambair-00.tmp").mkdir()
    assert remove_unfinished([tmp_path, tmp_path / "missing"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, ".mambair-00.tmp"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows needs no locks")
def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with whole_file(tmp_path / "a.png") as file:
        file.write(b"picture")
    (tmp_path / ".mambair-00.tmp").write_bytes(b"")
    assert remove_unfinished([tmp_path]) == 0
    assert (tmp_path / "a.png").read_bytes() == b"picture"
