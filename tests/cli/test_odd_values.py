"""Every option with every odd value: an error of one line, never a bug."""

from __future__ import annotations

import pytest
import typer.main

from mambair_cli.cli.main import app

ODD = [
    "",
    "nan",
    "inf",
    "-1",
    "1e400",
    "9" * 5000,
    "\x1b[2J",
    "{0.x}",
    "~nobody/x",
    "hf://o/--help/x",
]
COMMANDS = ["sr", "realsr", "denoise", "dejpeg", "bench", "compare", "train"]


def options(command):
    parameters = typer.main.get_command(app).commands[command].params
    return [
        parameter.opts[-1]
        for parameter in parameters
        if parameter.param_type_name == "option" and not parameter.is_flag
    ]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(command, option, marks=[] if command == "sr" else pytest.mark.slow)
        for command in COMMANDS
        for option in options(command)
    ],
)
def test_odd_values_are_no_bug(mambair, monkeypatch, tmp_path, command, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for value in ODD:
        outcome = mambair(command, "nosuch.png", option, value)
        assert outcome.status in (1, 2), (value, outcome.err)
        errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (value, outcome.err)
        assert "bug" not in errors[0]
        assert "Traceback" not in outcome.err
