"""Weights that were saved in several files: which belong together, and their one digest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from mambair_cli.checkpoints.reference import require_file, weights_in
from mambair_cli.disk import sha256_of
from mambair_cli.errors import CheckpointError

INDEX = ".index.json"
_PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)", re.ASCII)
_LONGEST_INDEX = 20 * 2**20


def files_of(path: Path) -> list[Path]:
    """List the files that weights lie in: one, or the parts that the Transformers library writes.

    Args:
        path: A weights file, a folder of one, one of several parts, or the index of them.

    Returns:
        The files, in order of their names.

    Raises:
        CheckpointError: It is missing, or parts are.
    """
    path = weights_in(path)
    require_file(path)
    if path.name.endswith(INDEX):
        what, names = "lists the parts of weights, and holds none itself", _listed_in(path)
    else:
        part = _PART.fullmatch(path.name)
        if part is None or int(part["count"]) < 2:
            return [path]
        count = int(part["count"])
        what = f"is part {int(part['number'])} of {count} of the weights"
        names = [
            f"{part['name']}-{number:05}-of-{count:05}{part['suffix']}"
            for number in range(1, min(count, 1000) + 1)
        ]
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing or not names:
        named = ", ".join(missing[:3]) or "any of them"
        raise CheckpointError(
            f"{path} {what}",
            f"join the parts in one folder: there is no {named}",
        )
    return [path.parent / name for name in names]


def digest_of(path: Path) -> str:
    """Identify weights by the content of all their files; of one file it is its sha256."""
    files = files_of(path)
    if len(files) == 1:
        return sha256_of(files[0])
    digests = "".join(f"{sha256_of(file)}\n" for file in files)
    return hashlib.sha256(digests.encode()).hexdigest()


def size_of(path: Path) -> int:
    """Count the bytes of all files of weights."""
    return sum(file.stat().st_size for file in files_of(path))


def _listed_in(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LONGEST_INDEX))
        names = sorted(set(content["weight_map"].values()))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}", "check its permissions"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    # Parts lie beside their index: what names another place was made to harm.
    return names if all(re.fullmatch(r"[\w.-]+", name) for name in names) else []
