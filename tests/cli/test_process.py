"""What only a process of its own shows: Ctrl-C in the middle, file names that are no text."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_leaves_nothing_behind(weights, make_image, tmp_path):
    image = make_image(tmp_path / "in" / "large.png", 260, 190)
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "mambair_cli", "sr", str(image), "-o", str(out), "--json"),
        *("--weights", str(weights / "sr-x4.safetensors")),
        *("--scan", "reference", "--tile", "32"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"tile"' in line and '"done": 1,' in line:
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    *_, error, _, hint = errors.splitlines()
    assert error == "error: interrupted"
    words = [sys.executable, "-m", "mambair_cli", "sr", "--resume", *command[4:]]
    assert hint == f"hint: go on with: {shlex.join(words)}"
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_name_that_is_no_text_is_printed_as_it_is(launcher, weights, photo, tmp_path):
    odd = os.fsencode(photo.parent) + b"/caf\xe9.png"
    name = os.fsdecode(odd)
    photo.rename(name)
    common = ("--weights", weights / "sr-x2.safetensors", "--scan", "torch")
    run = launcher.start(tmp_path / "printed", "sr", name, *common)
    assert run.wait() == 0, run.err
    assert (run.folder / "out").read_bytes() == os.fsencode(photo.parent) + b"/caf\xe9_x2.png\n"
