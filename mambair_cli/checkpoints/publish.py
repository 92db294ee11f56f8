"""Weights offered on the Hub: converted, with their configuration and a model card."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mambair_cli.checkpoints import header
from mambair_cli.checkpoints.convert import convert
from mambair_cli.checkpoints.hub.address import require_address
from mambair_cli.checkpoints.inspection import inspect_checkpoint
from mambair_cli.checkpoints.reference import CONFIG, FOLDER_WEIGHTS, HUB, HubReference
from mambair_cli.errors import UsageError
from mambair_cli.plain_json import to_json

if TYPE_CHECKING:
    from mambair_cli.checkpoints.hub.card import Score

LICENCE = re.compile(r"[A-Za-z0-9.+-]+")


@dataclass(frozen=True)
class Pushed:
    """What was put into a repository.

    Attributes:
        reference: What the weights can be asked for by.
        kept_card: Whether the repository had a model card, which was left as it is.
    """

    reference: HubReference
    kept_card: bool


def push(
    file: Path,
    repo: str,
    *,
    name: str | None = None,
    private: bool = False,
    licence: str | None = None,
    scores: Sequence[Score] = (),
) -> Pushed:
    """Put weights into a model repository.

    Args:
        file: A `.safetensors` or `.pth` file.
        repo: Owner and name of the repository; it is made if there is none.
        name: Path of the `.safetensors` file in a repository of several models; None for the folder
            of one, as PyTorchModelHubMixin writes it.
        private: Whether a repository that is made is private.
        licence: SPDX identifier of the weights' licence; None for that of the catalogue's model, if
            it is one.
        scores: What the weights were measured to reach, for the model card.

    Raises:
        UsageError: The repository, the file in it or the licence has no such name.
        CheckpointError: The file is no weights file, or the Hub does not take it.
    """
    require_address()
    from mambair_cli.checkpoints.hub import repository as hub
    from mambair_cli.checkpoints.hub.card import model_card

    reference = _reference(repo, name)
    if licence is not None and not LICENCE.fullmatch(licence):
        raise UsageError(f"{licence!r} is no SPDX identifier", "write it like Apache-2.0 or MIT")
    with tempfile.TemporaryDirectory() as folder:
        # Not under the name that weights of a folder have: what lies beside it is not its own.
        converted = Path(folder) / "weights.safetensors"
        spec = convert(file, converted)
        found = inspect_checkpoint(converted)
        card, config = Path(folder) / hub.MODEL_CARD, Path(folder) / CONFIG
        card.write_text(model_card(found, reference, licence, scores), "utf-8")
        files = {reference.path or FOLDER_WEIGHTS[0]: converted, hub.MODEL_CARD: card}
        if not reference.path:
            config.write_text(to_json(header.fields_of(found.config), indent=2) + "\n", "utf-8")
            files[CONFIG] = config
        kept_card = hub.upload(files, repo, private=private, message=f"Add {spec.id}")
    return Pushed(reference, kept_card)


def _reference(repo: str, name: str | None) -> HubReference:
    try:
        reference = HubReference.parse(f"{HUB}{repo}")
    except UsageError:
        reference = None
    if reference is None or reference.repo != repo:
        raise UsageError(f"{repo!r} names no repository", "write it as owner/name")
    if name is None:
        return reference
    if not name.endswith(".safetensors"):
        raise UsageError(f"{name!r} does not end in .safetensors", "weights are uploaded as such")
    return HubReference.parse(f"{HUB}{repo}/{name}")
