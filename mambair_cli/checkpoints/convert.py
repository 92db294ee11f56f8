"""Safetensors files that say what they are, written from a network or another weights file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from mambair_cli.checkpoints import header
from mambair_cli.checkpoints.load import open_checkpoint
from mambair_cli.checkpoints.reference import require_file, weights_in
from mambair_cli.checkpoints.shards import digest_of
from mambair_cli.checkpoints.state_dict import RawCheckpoint
from mambair_cli.disk import check_writable, write_whole
from mambair_cli.errors import OutputError, UsageError
from mambair_cli.networks import RestorationNetwork
from mambair_cli.networks.spec import ModelSpec

StorageType = Literal["fp32", "bf16", "fp16"]
STORAGE_TYPES: dict[StorageType, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def convert(
    source: Path,
    target: Path,
    *,
    dtype: StorageType | None = None,
    overwrite: bool = False,
    spec: ModelSpec | None = None,
) -> ModelSpec:
    """Convert a weights file to safetensors with its configuration in the metadata.

    Args:
        source: A `.pth` or `.safetensors` file.
        target: The `.safetensors` file to write.
        dtype: Number format to store; None keeps that of the source.
        overwrite: Whether an existing target may be replaced.
        spec: What the weights are for, where the file and its name do not tell.

    Returns:
        What the weights are for, as written.

    Raises:
        UsageError: The target is the source, or no `.safetensors` name.
        CheckpointError: The source is not usable.
        OutputError: The target exists, or cannot be written.
    """
    source = weights_in(source)
    require_file(source)
    _check_target(source, target, overwrite=overwrite)
    raw, network, found = open_checkpoint(source)
    purpose = spec or found
    origin = {header.SOURCE: source.name, header.SOURCE_SHA256: digest_of(source)}
    store(target, raw, network, purpose, origin, dtype=dtype)
    return purpose


def store(
    path: Path,
    raw: RawCheckpoint,
    network: RestorationNetwork,
    spec: ModelSpec,
    origin: Mapping[str, str],
    *,
    dtype: StorageType | None = None,
) -> None:
    """Write the content of another weights file as safetensors, whole or not at all.

    Args:
        path: The `.safetensors` file to write; one that is there is replaced.
        raw: The content, as `open_checkpoint` read it.
        network: Its network.
        spec: What the weights are for.
        origin: Text entries that say where they came from.
        dtype: Number format to store; None keeps that of the source.

    Raises:
        OutputError: The file cannot be written.
    """
    entries = {**raw.metadata, **header.describe(network.config, spec), **origin}
    _write(path, raw.tensors, entries, dtype)


def write_checkpoint(
    path: Path,
    network: RestorationNetwork,
    spec: ModelSpec | None = None,
    extra_metadata: Mapping[str, str] | None = None,
    *,
    dtype: StorageType | None = None,
) -> None:
    """Write a network's weights as safetensors, replacing the file if there is one.

    Args:
        path: The `.safetensors` file to write.
        network: The network; its configuration goes into the metadata.
        spec: What the weights are for, when known.
        extra_metadata: Further text entries, such as the training step.
        dtype: Number format to store; None keeps that of the network.

    Raises:
        OutputError: The file cannot be written.
    """
    entries = {**header.describe(network.config, spec), **(extra_metadata or {})}
    _write(path, network.state_dict(), entries, dtype)


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    if target.suffix.lower() != ".safetensors":
        raise UsageError(
            f"{target} does not end in .safetensors",
            f"name it {target.with_suffix('.safetensors').name}",
        )
    if target.exists():
        if target.samefile(source):
            raise UsageError(f"{target} is the source itself", "choose another name for the result")
        if not overwrite:
            raise OutputError(f"{target} already exists", "use --overwrite, or choose another name")
    try:
        check_writable(target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _write(
    path: Path, tensors: Mapping[str, Tensor], entries: dict[str, str], dtype: StorageType | None
) -> None:
    stored = {
        key: tensor.detach().to("cpu", STORAGE_TYPES[dtype] if dtype else tensor.dtype).contiguous()
        for key, tensor in tensors.items()
    }
    entries = {"format": "pt", **entries, header.VERSION: _package_version()}
    try:
        write_whole(path, save(_apart(stored), entries))
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError | SafetensorError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) else error
    return OutputError(
        f"{path} cannot be written: {reason}", "check that its folder exists and is writable"
    )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares memory, as views in a pickle may; the format cannot hold that."""
    seen: set[int] = set()
    apart = {}
    for key, tensor in tensors.items():
        memory = tensor.untyped_storage()
        alone = memory.data_ptr() not in seen and memory.nbytes() == tensor.nbytes
        apart[key] = tensor if alone else tensor.clone()
        seen.add(memory.data_ptr())
    return apart


def _package_version() -> str:
    try:
        return version("mambair")
    except PackageNotFoundError:
        return "not installed"
