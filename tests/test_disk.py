"""Files appear whole or not at all; what a killed process left of them is removed."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from odd_disks import cannot

from mambair_cli import disk
from mambair_cli.disk import (
    AppearedError,
    UnfitError,
    check_writable,
    remove_unfinished,
    whole_file,
)
from mambair_cli.errors import ImageError

WRITE_AND_WAIT = """
import sys
from pathlib import Path
from mambair_cli.disk import whole_file

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


def test_a_file_appears_under_its_name_with_everything_in_it(tmp_path):
    path = tmp_path / "out.bin"
    with whole_file(path) as file:
        file.write(b"0123456789")
        file.seek(2)
        assert file.read(3) == b"234"
        assert not path.exists()
        (temporary,) = path.parent.iterdir()
        assert temporary.name.startswith(".mambair-")
        assert temporary.suffix == ".tmp"
    assert path.read_bytes() == b"0123456789"
    assert list(path.parent.iterdir()) == [path]


def test_content_and_name_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def record(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(disk.os, "fsync", record)
    path = tmp_path / "out.bin"
    with whole_file(path) as file:
        file.write(b"content")
    assert flushed[0] == path.stat().st_ino
    if os.name == "posix":
        assert flushed[1:] == [tmp_path.stat().st_ino]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, MemoryError, ImageError])
def test_a_failure_leaves_the_old_file_and_no_temporary(tmp_path, failure):
    path = tmp_path / "out.bin"
    path.write_bytes(b"the old file")

    def write():
        with whole_file(path) as file:
            file.write(b"half of it")
            raise failure("told")

    with pytest.raises(failure):
        write()
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_kill_leaves_at_most_a_temporary_file(tmp_path):
    script = (
        "import pathlib, sys, time\n"
        "from mambair_cli.disk import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half of it')\n"
        "    file.flush()\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "out.bin"
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert not path.exists()
    assert all(left.name.startswith(".mambair-") for left in tmp_path.iterdir())


def test_whether_a_file_can_be_written_is_known_before_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new")
    check_writable(tmp_path / "file")
    for name, kind in (
        ("folder", IsADirectoryError),
        ("missing/new", FileNotFoundError),
        ("file/new", NotADirectoryError),
    ):
        with pytest.raises(kind):
            check_writable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for do in (check_writable, lambda path: write(path, b"new")):
        with pytest.raises(OSError, match="Not a regular file"):
            do(pipe)
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def write(path, content, **options):
    with whole_file(path, **options) as file:
        file.write(content)


class TestWhatMustNotBeReplaced:
    @pytest.mark.parametrize("lacks", [(), ("link",)], ids=["hard links", "no hard links"])
    def test_stays(self, tmp_path, monkeypatch, lacks):
        cannot(monkeypatch, *lacks)
        path = tmp_path / "a.png"

        def lose_the_race():
            with whole_file(path, replaces=False) as file:
                file.write(b"new")
                path.write_bytes(b"old")

        with pytest.raises(AppearedError):
            lose_the_race()
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
        write(path, b"old", replaces=False)

    @pytest.mark.parametrize("lacks", [(), ("link",), ("rename", "replace")])
    def test_is_not_there(self, tmp_path, monkeypatch, lacks):
        cannot(monkeypatch, *lacks)
        write(tmp_path / "a.png", b"new", replaces=False)
        assert (tmp_path / "a.png").read_bytes() == b"new"
        assert len(list(tmp_path.iterdir())) == 1

    def test_may_be_a_link_that_leads_nowhere_or_a_folder(self, tmp_path):
        (tmp_path / "link").symlink_to("nowhere")
        (tmp_path / "folder").mkdir()
        for name in ("link", "folder"):
            with pytest.raises(AppearedError):
                write(tmp_path / name, b"new", replaces=False)


class TestFileSystemsThatCannot:
    @pytest.mark.parametrize("answer", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
    def test_flush(self, tmp_path, monkeypatch, answer):
        cannot(monkeypatch, "fsync", answer=answer)
        write(tmp_path / "a.png", b"new")
        assert (tmp_path / "a.png").read_bytes() == b"new"

    def test_keep_what_was_flushed(self, tmp_path, monkeypatch):
        cannot(monkeypatch, "fsync", answer=errno.EIO)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            write(tmp_path / "a.png", b"new")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EBUSY])
    def test_rename_but_link(self, tmp_path, monkeypatch, answer):
        cannot(monkeypatch, "replace", answer=answer)
        write(tmp_path / "a.png", b"new")
        assert (tmp_path / "a.png").read_bytes() == b"new"
        with pytest.raises(UnfitError, match="the file system cannot rename files"):
            write(tmp_path / "a.png", b"newer")
        assert (tmp_path / "a.png").read_bytes() == b"new"

    @pytest.mark.parametrize("replaces", [True, False])
    def test_rename_nor_link(self, tmp_path, monkeypatch, replaces):
        cannot(monkeypatch, "replace", "rename", "link")
        with pytest.raises(UnfitError, match="the file system cannot rename files"):
            write(tmp_path / "a.png", b"new", replaces=replaces)
        assert list(tmp_path.iterdir()) == []

    def test_change_permissions(self, tmp_path, monkeypatch):
        cannot(monkeypatch, "fchmod", "fchown", answer=errno.EPERM)
        (tmp_path / "a.png").write_bytes(b"old")
        write(tmp_path / "a.png", b"new")
        assert (tmp_path / "a.png").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o664, 0o444])
def test_what_replaces_a_file_has_its_permissions(tmp_path, mode):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == mode
