"""Write what is installed beside the program into `share/`: its manual page and completions.

    python release/generate.py

All of it is read off the application, so that it says what `--help` says. A test compares the
files with what this would write.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from typer.main import get_command

from mambair_cli.cli.main import COMPLETION_VARIABLE, ExitStatus, app
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.preferences import FILE_VARIABLE

SHARE = Path(__file__).parents[1] / "share"
STATUSES = {
    ExitStatus.DONE: "All done.",
    ExitStatus.FAILED: "Something failed; of a batch, the rest is done.",
    ExitStatus.WRONG_REQUEST: "The request was wrong; nothing was done.",
    ExitStatus.BUG: "A bug: run the command again with --debug and report what it prints.",
    ExitStatus.INTERRUPTED: "Interrupted.",
    ExitStatus.READER_GONE: "Nobody reads the output any more.",
}
PLACES = {
    FILE_VARIABLE: "File of preferences; none is read where it is empty.",
    "MAMBAIR_HOME": "Folder of fetched weights.",
    "MAMBAIR_DATASETS": "Folder of benchmark sets.",
    "NUMBA_CACHE_DIR": "Folder of compiled kernels.",
    "HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE": "As huggingface_hub means them.",
    "NO_COLOR": "Nothing is coloured.",
}
# What stands for a value whose option has no word for it.
KINDS = {str: "TEXT", int: "N", float: "N", Path: "PATH"}
EXAMPLES = {
    "mambair sr --scale 4 photo.png": "Write photo_x4.png beside its source.",
    "mambair denoise shots/ -o out/": "Measure and remove the noise of a folder of images.",
    "mambair dejpeg scan.jpg": "Remove what JPEG compression left.",
    "mambair sr --scale 4 - < in.png > out.png": "In a pipe.",
}


def manual_page() -> str:
    """Write the manual page, in roff."""
    command = get_command(app)
    name = "mambair \\- restore images with MambaIR, a state-space network"
    lines = [
        '.TH MAMBAIR 1 "" mambair "User Commands"',
        *(".SH NAME", name),
        *(".SH SYNOPSIS", ".B mambair", r"\fICOMMAND\fR [\fIOPTION\fR]... [\fIFILE\fR]..."),
        *(".SH DESCRIPTION", _escaped(command.help)),
        *(".SH OPTIONS", *_described(command.params), *_help_option()),
        ".SH COMMANDS",
    ]
    for words, inner in _commands(command, ("mambair",)):
        lines += [f".SS {_escaped(' '.join(words))}", _escaped(inner.help)]
        lines += _described(_own(inner))
        if _takes_settings(inner):
            lines += [".PP", "It takes images and options as all restoring commands do."]
    lines += [".SH WHAT RESTORING COMMANDS TAKE", *_described(_shared(command))]
    lines += [".SH ENVIRONMENT", *_entries(PLACES), *_entries(_variables(command))]
    lines += [".SH FILES", *_entries({"~/.config/mambair/config.toml": command.epilog})]
    lines += [".SH EXIT STATUS"]
    lines += _entries({str(int(status)): text for status, text in STATUSES.items()})
    lines += [".SH EXAMPLES", *_entries(EXAMPLES)]
    return "\n".join(lines) + "\n"


def completions() -> dict[str, str]:
    """Return the file of each shell that completes words of the command line, by its place."""
    asked = {shell: _completion(shell) for shell in ("bash", "zsh", "fish")}
    # The first completion loads the file of zsh as a function and is to be answered as well.
    *body, register = asked["zsh"].splitlines()
    loaded = "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then"
    zsh = [*body, loaded, '  _mambair_completion "$@"', "else", f"  {register}", "fi"]
    return {
        "bash-completion/completions/mambair": asked["bash"],
        "zsh/site-functions/_mambair": "\n".join(zsh) + "\n",
        "fish/vendor_completions.d/mambair.fish": asked["fish"],
    }


def generated() -> dict[str, str]:
    """Return every file of `share/`, by its place there."""
    return {"man/man1/mambair.1": manual_page(), **completions()}


def _completion(shell: str) -> str:
    environment = os.environ | {COMPLETION_VARIABLE: f"source_{shell}"}
    program = "from mambair_cli.cli.main import app; app(prog_name='mambair')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, (*words, name))
        else:
            yield (*words, name), inner


def _takes_settings(command: Any) -> bool:
    return {parameter.name for parameter in command.params} >= _settings()


def _settings() -> set[str]:
    return {item.name for item in fields(RestoreSettings)} - {"preferred"}


def _own(command: Any) -> list[Any]:
    shared = _settings() if _takes_settings(command) else set()
    return [parameter for parameter in command.params if parameter.name not in shared]


def _shared(command: Any) -> list[Any]:
    return [each for each in command.commands["sr"].params if each.name in _settings()]


def _variables(command: Any) -> dict[str, str]:
    preferred = [option for option in _shared(command) if option.envvar]
    return {
        each.envvar: f"What is always wanted of {max(each.opts, key=len)}." for each in preferred
    }


def _described(parameters: Sequence[Any]) -> Iterator[str]:
    for parameter in parameters:
        names = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            names = []
        terms = ", ".join(rf"\fB{_escaped(name)}\fR" for name in names)
        yield from (".TP", f"{terms} {_value(parameter)}".strip(), _escaped(parameter.help or ""))


def _value(parameter: Any) -> str:
    """Return what stands for the value of an option; nothing where it takes none."""
    if getattr(parameter, "is_flag", False):
        return ""
    annotation = parameter.type_descriptor.annotation
    choices = "|".join(map(str, get_args(annotation)))
    text = parameter.metavar or choices or KINDS.get(annotation, "VALUE")
    return rf"\fI{_escaped(text)}\fR"


def _help_option() -> list[str]:
    return [".TP", r"\fB\-h\fR, \fB\-\-help\fR", "Say what a command takes, and exit."]


def _entries(texts: dict[str, str]) -> Iterator[str]:
    for term, text in texts.items():
        yield from (".TP", rf"\fB{_escaped(term)}\fR", _escaped(text))


def _escaped(text: str) -> str:
    """Return a text as roff has it: hyphens that can be copied, no line that is a request."""
    line = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("-", "\\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    for place, content in generated().items():
        path = SHARE / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
        print(path)
