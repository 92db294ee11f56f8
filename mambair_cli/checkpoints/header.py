"""What a file of this package says about itself, in the text entries of its safetensors header."""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from mambair_cli.errors import CheckpointError
from mambair_cli.networks.spec import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    ModelSpec,
    NetworkConfig,
    Preceding,
    Task,
)
from mambair_cli.plain_json import to_json

CONFIG = "mambair.config"
SPEC = "mambair.spec"
VERSION = "mambair.version"
SOURCE = "mambair.source"
SOURCE_SHA256 = "mambair.source_sha256"
SOURCE_REPOSITORY = "mambair.source_repository"
SOURCE_REVISION = "mambair.source_revision"

NETWORKS: dict[str, type[NetworkConfig]] = {
    "MambaIR": MambaIRConfig,
    "MambaIRUNet": MambaIRUNetConfig,
    "MambaIRv2": MambaIRv2Config,
}

EDITED = "its metadata was edited: make the file again with `mambair models convert`"
LARGEST = 1_000_000  # of a ratio and of a white level
MOST_STATED = 10**9  # of a scale, level or count of channels; more is refused before it is shown
# It is shown on terminals, and becomes part of names of files.
ID = re.compile(r"\w[\w .,+()=@~-]{0,199}")

Record = TypeVar("Record")


def describe(config: NetworkConfig, spec: ModelSpec | None) -> dict[str, str]:
    """Write a configuration, and a specification if there is one, as header entries.

    Args:
        config: The network's configuration.
        spec: What the weights are for.

    Returns:
        Entry name to JSON text.
    """
    entries = {CONFIG: to_json(fields_of(config))}
    if spec is not None:
        stated = dataclasses.asdict(spec)
        if spec.after is None:  # earlier versions do not know it
            del stated["after"]
        entries[SPEC] = to_json(stated)
    return entries


def fields_of(config: NetworkConfig) -> dict[str, Any]:
    """Name the network of a configuration, and list its fields."""
    return {"network": name_of(config), **dataclasses.asdict(config)}


def name_of(config: NetworkConfig) -> str:
    """Name the network of a configuration."""
    return next(name for name, kind in NETWORKS.items() if isinstance(config, kind))


def stated_config(metadata: Mapping[str, str]) -> NetworkConfig | None:
    """Read the configuration from header entries.

    Args:
        metadata: The header's text entries.

    Returns:
        The configuration, or None where the file states none.

    Raises:
        CheckpointError: The entry is not a configuration that this version knows.
    """
    if CONFIG not in metadata:
        return None
    values = _object(metadata, CONFIG)
    network = values.pop("network", None)
    if not isinstance(network, str) or network not in NETWORKS:
        raise CheckpointError(
            f"metadata {CONFIG}: unknown network {reprlib.repr(network)}",
            "known: " + ", ".join(NETWORKS),
        )
    config = _record(NETWORKS[network], values, CONFIG)
    for number in (config.mlp_ratio, getattr(config, "img_range", 1.0)):
        require_positive(number, f"metadata {CONFIG}:")
    return config


def require_positive(number: object, where: str, hint: str | None = None) -> None:
    """Check a ratio or a white level.

    Raises:
        CheckpointError: It is no positive number, or larger than any is.
    """
    if not isinstance(number, int | float) or not 0 < number <= LARGEST:
        raise CheckpointError(
            f"{where} {reprlib.repr(number)} is not a positive number up to {LARGEST}", hint
        )


def stated_spec(metadata: Mapping[str, str]) -> ModelSpec | None:
    """Read what the weights are for from header entries.

    Args:
        metadata: The header's text entries.

    Returns:
        The specification, or None where the file states none.

    Raises:
        CheckpointError: The entry is not a specification that this version knows.
    """
    if SPEC not in metadata:
        return None
    spec = _record(ModelSpec, _object(metadata, SPEC), SPEC)
    for value in (spec.sigma, spec.quality, spec.scale, spec.channels):
        if type(value) is not int and value is not None:
            raise CheckpointError(
                f"metadata {SPEC}: {reprlib.repr(value)} is not a whole number", EDITED
            )
        if value is not None and abs(value) > MOST_STATED:
            raise CheckpointError(
                f"metadata {SPEC}: {reprlib.repr(value)} is more than sense has", EDITED
            )
    if not isinstance(spec.id, str) or not ID.fullmatch(spec.id):
        raise CheckpointError(
            f"metadata {SPEC}: {reprlib.repr(spec.id)} is not a model's id",
            "it is letters, digits, spaces and .,+()=@~-, 200 at most, and begins with a letter "
            "or a digit",
        )
    if spec.task not in get_args(Task):
        raise CheckpointError(
            f"metadata {SPEC}: unknown task {reprlib.repr(spec.task)}",
            "known: " + ", ".join(get_args(Task)),
        )
    if spec.after not in (None, *get_args(Preceding)):
        raise CheckpointError(
            f"metadata {SPEC}: {reprlib.repr(spec.after)} is not what weights can follow",
            "known: " + ", ".join(get_args(Preceding)),
        )
    return spec


def id_from(stem: str) -> str:
    """Make a model's id from the name of a file; most names are one as they are."""
    return re.sub(r"[^\w .,+()=@~-]", "_", re.sub(r"^\W", "_", stem))[:200]


def _object(metadata: Mapping[str, str], entry: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[entry])
    except (ValueError, RecursionError) as error:  # also numbers too long, lists in lists in lists
        raise CheckpointError(f"metadata {entry} is not JSON: {error}", EDITED) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"metadata {entry} is not a JSON object: {reprlib.repr(value)}", EDITED
        )
    return value


def _record(kind: type[Record], values: dict[str, Any], entry: str) -> Record:
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return kind(**fields)
    except TypeError as error:
        raise CheckpointError(
            f"metadata {entry}: {error}", "the file was written by another version of mambair"
        ) from error
