"""Everything that a weights file tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.header import SOURCE_SHA256
from mambair_cli.checkpoints.load import open_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.shards import digest_of, size_of
from mambair_cli.networks.spec import ModelSpec, NetworkConfig, Task


def task_of(named: str) -> Task | None:
    """Tell what weights are for.

    Args:
        named: A variant, a model id, a file or an `hf://` reference.

    Returns:
        Their task; None for a variant, which there is for several.

    Raises:
        MambairError: There are no such weights, or they cannot be had or used.
    """
    if any(entry.variant == named for entry in catalogue.entries()):
        return None
    known = next((entry for entry in catalogue.entries() if entry.id == named), None)
    return open_checkpoint(resolve(named))[2].task if known is None else known.task


@dataclass(frozen=True)
class Inspection:
    """What was found in a weights file.

    Attributes:
        path: The file.
        format: `safetensors` or `pickle`.
        wrapper: Key of the pickle under which the state dict was found; empty when at the top.
        notes: What was chosen among several state dicts, and what was left out, a phrase each.
        network: Class of the network.
        config: Its configuration.
        spec: What it is for.
        parameters: Number of parameters.
        tensors: Number of tensors.
        dtypes: Number formats they are stored in, such as `float32`.
        size: Bytes of the file.
        sha256: Digest of the file.
        metadata: Text entries of a safetensors header.
    """

    path: Path
    format: str
    wrapper: str
    notes: tuple[str, ...]
    network: str
    config: NetworkConfig
    spec: ModelSpec
    parameters: int
    tensors: int
    dtypes: tuple[str, ...]
    size: int
    sha256: str
    metadata: dict[str, str]

    @property
    def known(self) -> CatalogueEntry | None:
        """The model of the catalogue that the file holds; None for weights of somebody else."""
        # Of a converted file, as every file of the Hub is kept, the original counts.
        digests = (None, self.sha256, self.metadata.get(SOURCE_SHA256))
        return next(
            (
                entry
                for entry in catalogue.entries()
                if entry.id == self.spec.id and entry.sha256 in digests
            ),
            None,
        )


def inspect_checkpoint(path: Path) -> Inspection:
    """Read a weights file, check it as loading would, and report what it is.

    Args:
        path: A `.safetensors` or `.pth` file.

    Returns:
        What was found.

    Raises:
        CheckpointError: The file could not be loaded either.
    """
    raw, network, spec = open_checkpoint(path)
    return Inspection(
        path=path,
        format=raw.format,
        wrapper=raw.wrapper,
        notes=raw.notes,
        network=type(network).__name__,
        config=network.config,
        spec=spec,
        parameters=sum(tensor.numel() for tensor in raw.tensors.values()),
        tensors=len(raw.tensors),
        dtypes=tuple(
            sorted({str(tensor.dtype).removeprefix("torch.") for tensor in raw.tensors.values()})
        ),
        size=size_of(path),
        sha256=digest_of(path),
        metadata=raw.metadata,
    )
