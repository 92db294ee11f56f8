"""Weights files by their names, before any is opened."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from mambair_cli.errors import CheckpointError

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def require_file(path: Path) -> None:
    """Checks that a path names a file.

    Args:
        path: What the user gave.

    Raises:
        CheckpointError: It is missing or a directory; the hint names what is there instead.
    """
    # The functions of os.path answer where those of Path raise: a name too long, no permission.
    if os.path.isfile(path):  # noqa: PTH113
        return
    is_directory = os.path.isdir(path)  # noqa: PTH112
    directory = path if is_directory else path.parent
    siblings = _weights_in(directory)
    if is_directory:
        hint = "name one of its files: " + ", ".join(siblings[:5]) if siblings else None
        raise CheckpointError(f"{path} is a directory, not a weights file", hint)
    close = difflib.get_close_matches(path.name, siblings, n=3) or siblings[:5]
    if close:
        hint = f"{directory} holds: " + ", ".join(close)
    else:
        hint = "`mambair models list` names the models; --weights takes a .safetensors or .pth file"
    raise CheckpointError(f"no such weights file: {path}", hint)


def _weights_in(directory: Path) -> list[str]:
    try:
        files = sorted(directory.iterdir())
    except OSError:
        return []
    return [file.name for file in files if file.suffix.lower() in WEIGHTS_SUFFIXES]
