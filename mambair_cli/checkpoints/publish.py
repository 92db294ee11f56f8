"""Weights offered on the Hub: converted to safetensors, with a model card that describes them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.convert import convert
from mambair_cli.checkpoints.hub.address import require_address
from mambair_cli.checkpoints.inspection import Inspection, inspect_checkpoint
from mambair_cli.checkpoints.reference import HUB, HubReference
from mambair_cli.errors import UsageError

LICENCE = re.compile(r"[A-Za-z0-9.+-]+")


def push(
    file: Path, repo: str, *, private: bool = False, licence: str | None = None
) -> HubReference:
    """Put a weights file into a model repository.

    Args:
        file: A `.safetensors` or `.pth` file.
        repo: Owner and name of the repository; it is made if there is none.
        private: Whether a repository that is made is private.
        licence: SPDX identifier of the weights' licence; None for that of the catalogue's model, if
            it is one.

    Returns:
        What the file can be asked for by.

    Raises:
        UsageError: The repository or the licence has no such name.
        CheckpointError: The file is no weights file, or the Hub does not take it.
    """
    require_address()
    from mambair_cli.checkpoints.hub import repository as hub

    if not _names_repository(repo):
        raise UsageError(f"{repo!r} names no repository", "write it as owner/name")
    if licence is not None and not LICENCE.fullmatch(licence):
        raise UsageError(f"{licence!r} is no SPDX identifier", "write it like Apache-2.0 or MIT")
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "weights.safetensors"
        spec = convert(file, converted)
        reference = HubReference.parse(f"{HUB}{repo}/{spec.id}.safetensors")
        card = Path(folder) / hub.MODEL_CARD
        card.write_text(model_card(inspect_checkpoint(converted), reference, licence), "utf-8")
        files = {reference.path: converted, hub.MODEL_CARD: card}
        hub.upload(files, repo, private=private, message=f"Add {spec.id}")
    return reference


def _names_repository(text: str) -> bool:
    try:
        reference = HubReference.parse(f"{HUB}{text}/weights.safetensors")
    except UsageError:
        return False
    return reference.repo == text


def model_card(found: Inspection, reference: HubReference, licence: str | None) -> str:
    """Write the model card of a weights file.

    Args:
        found: What the file holds.
        reference: What it can be asked for by.
        licence: SPDX identifier of its licence; None for that of the catalogue's model, if it is
            one.

    Returns:
        Markdown, with the header that the Hub reads.
    """
    entry = {entry.id: entry for entry in catalogue.entries()}.get(found.spec.id)
    licence = licence or (entry.licence if entry else None)
    header = ["library_name: mambair", "pipeline_tag: image-to-image", "tags:", "- mambair"]
    if licence is not None:
        header.append(f"license: {licence.lower()}")
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(found))
    return "\n".join(
        [
            "---",
            *header,
            "---",
            f"# {found.spec.id}",
            "",
            "Weights of MambaIR ([arXiv 2402.15648](https://arxiv.org/abs/2402.15648)).",
            "",
            "| | |",
            "|---|---|",
            facts,
            "",
            "## Use",
            "",
            f"    mambair {catalogue.command(found.spec)} photo.png --weights {reference}",
            "",
        ]
    )


def _facts(found: Inspection) -> Iterator[tuple[str, object]]:
    for name, value in asdict(found.spec).items():
        if name != "id" and value is not None:
            yield name, value
    if found.known is not None:
        yield "trained on", found.known.trained_on
        for images, terms in found.known.terms.items():
            yield f"terms of {images}", terms
    yield "network", found.network
    yield "parameters", f"{found.parameters:,}"
    yield "format", f"safetensors, {', '.join(found.dtypes)}"
    yield "sha256", found.sha256
    for name in ("source", "source_repository", "source_revision", "source_sha256"):
        if value := found.metadata.get(f"mambair.{name}"):
            yield name.replace("_", " "), value
