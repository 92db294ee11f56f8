"""Where weights are in a repository of the Hub, and the configuration beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.reference import (
    CONFIG,
    HUB,
    WEIGHTS_SUFFIXES,
    HubFile,
    HubReference,
    Listener,
    is_of_folder,
    page,
)
from mambair_cli.errors import CheckpointError

LISTED = 20


def locate(
    wanted: CatalogueEntry | HubReference, listener: Listener | None
) -> tuple[HubFile, bool]:
    """Ask for the preferred names, then for what is there; without the Hub, for what is kept.

    Args:
        wanted: A published model, a file of a repository, or a repository as a folder.
        listener: Takes the place of huggingface_hub's own messages.

    Returns:
        The weights file, and whether it is on this machine and the Hub could not be asked.

    Raises:
        CheckpointError: There is no such file, or it is not known.
    """
    from mambair_cli.checkpoints.hub import repository as hub

    if isinstance(wanted, HubReference):
        candidates = wanted.candidates
    else:
        assert wanted.repo is not None
        candidates = [HubReference(wanted.repo, file) for file in wanted.files]
    first = candidates[0]
    try:
        for candidate in candidates:
            if file := hub.look_up(candidate, listener):
                return file, False
        names = hub.list_files(first, listener)
        for name in _matching(wanted, names):
            if file := hub.look_up(replace(first, path=name), listener):
                return file, False
    except CheckpointError:
        kept = hub.kept_files(first)
        named = [candidate.path for candidate in candidates if candidate.path in kept]
        for name in (*named, *_matching(wanted, kept)):
            return hub.kept_file(replace(first, path=name)), True
        raise
    raise _not_there(candidates, names)


def fetch_config(file: HubFile, weights: Path, listener: Listener | None) -> None:
    """Have the configuration of a folder beside its weights, if the repository has one.

    Args:
        file: Weights, of a folder or not.
        weights: The file on this machine.
        listener: Is told of the download.

    Raises:
        CheckpointError: It cannot be fetched, or changed while the weights were.
    """
    from mambair_cli.checkpoints.hub import repository as hub

    path = PurePosixPath(file.path)
    if not is_of_folder(path) or (weights.parent / CONFIG).is_file():
        return
    # Of the commit that the weights are of, which the branch may have left.
    found = hub.look_up(
        replace(file.reference, path=str(path.with_name(CONFIG)), revision=file.revision), listener
    )
    if found is not None and hub.download(found, listener).parent != weights.parent:
        raise CheckpointError(
            f"{file.repo} changed while {file.path} was fetched", "fetch it again"
        )


def _matching(entry: CatalogueEntry | HubReference, names: Sequence[str]) -> list[str]:
    """List files that may be a model's, the likeliest first: same folder, then safetensors."""
    if isinstance(entry, HubReference):
        return []
    folder = PurePosixPath(entry.files[0]).parent
    found = [
        path
        for path in map(PurePosixPath, names)
        if path.suffix.lower() in WEIGHTS_SUFFIXES
        and re.search(entry.pattern, path.name, re.IGNORECASE)
    ]
    return [
        str(path)
        for path in sorted(
            found, key=lambda path: (path.parent != folder, path.suffix.lower() != ".safetensors")
        )
    ]


def _not_there(candidates: Sequence[HubReference], names: Sequence[str]) -> CheckpointError:
    repo = candidates[0].repo
    weights = [name for name in names if PurePosixPath(name).suffix.lower() in WEIGHTS_SUFFIXES]
    listed = "".join(f"\n  {name}" for name in weights[:LISTED])
    if len(weights) > LISTED:
        listed += f"\n  and {len(weights) - LISTED} more"
    wanted = " or ".join(candidate.path for candidate in candidates)
    return CheckpointError(
        f"{repo} has no {wanted}; its weights files are:{listed or ' none'}",
        f"name one of them: --weights {HUB}{repo}/PATH ({page(repo)})",
    )
