"""Standard streams that are full or closed, or cannot hold a name."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from mambair_cli.cli import streams

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has none")  # noqa: PTH110
FULL = "error: standard output cannot be written: No space left on device\n"
CLOSED = "error: standard output cannot be written: it is closed\n"
# Everything but the network itself: a batch that goes on to its end whatever is printed.
BATCH = """
import sys
from mambair_cli.cli import main
from mambair_cli.cli.console import Messages, print_data
def run():
    for name in ("a", "caf\\u00e9", "\\udcff"):
        Messages().notice(f"doing {name!a}")
        print_data(name)
    open(sys.argv[1], "w").write("done")
    return 0
main.run = run
main.main()
"""


def shell(line: str, *words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, *map(str, words)],  # noqa: S607
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("redirection", "told"), [(">/dev/full", FULL), (">&-", CLOSED), ("<&- >&-", CLOSED)]
)
def test_a_batch_is_done_and_then_it_is_told(tmp_path, redirection, told, unbuffered):
    line = f'"$1" -c "$2" "$3" {redirection}'
    done = shell(line, BATCH, tmp_path / "end", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, (tmp_path / "end").read_text()) == (1, "done")
    assert done.stderr.decode().endswith(f"\n{told}")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_what_standard_error_cannot_take_is_lost_and_nothing_else(tmp_path, redirection):
    line = f'"$1" -c "$2" "$3" {redirection}'
    done = shell(line, BATCH, tmp_path / "end", PYTHONIOENCODING="utf-8")
    assert (done.returncode, (tmp_path / "end").read_text()) == (0, "done")
    assert done.stdout == "a\ncafé\n".encode() + b"\xff\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8:strict"])
def test_a_name_beyond_the_encoding_is_escaped(tmp_path, encoding):
    done = shell('"$1" -c "$2" "$3"', BATCH, tmp_path / "end", PYTHONIOENCODING=encoding)
    letter = {"ascii": b"\\xe9", "cp1252": b"\xe9"}.get(encoding, "é".encode())
    assert (done.returncode, done.stdout) == (0, b"a\ncaf" + letter + b"\n\xff\n")


@pytest.mark.parametrize("words", ["--version", "--help", "models list --json", "models list"])
def test_every_command_tells_of_a_full_disk(words):
    done = shell(f'"$1" -m mambair_cli {words} >/dev/full')
    assert (done.returncode, done.stderr.decode()) == (1, FULL)


def test_whose_reader_has_gone_ends_as_by_a_signal():
    done = shell('{ "$1" -m mambair_cli models list --json; echo $? >&2; } | true')
    assert done.stderr == b"141\n"


def test_what_is_no_file_is_left_as_it_is():
    kept = io.StringIO()
    assert streams._lossy(streams.OUTPUT, kept) is kept
