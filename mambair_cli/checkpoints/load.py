"""From a file to a network: read it, check every tensor, say what it is for."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mambair_cli.checkpoints import catalogue, header
from mambair_cli.checkpoints.detect import CHANGED, detect_config
from mambair_cli.checkpoints.folder import stated_beside
from mambair_cli.checkpoints.reference import CONFIG, is_of_folder, weights_in
from mambair_cli.checkpoints.shards import digest_of
from mambair_cli.checkpoints.state_dict import RawCheckpoint, read_checkpoint
from mambair_cli.checkpoints.unwrapping import unwrapped
from mambair_cli.errors import CheckpointError, UsageError
from mambair_cli.kernels.block.attention import relative_positions
from mambair_cli.networks import build_network
from mambair_cli.networks.spec import (
    MambaIRUNetConfig,
    MambaIRv2Config,
    ModelSpec,
    NetworkConfig,
    Task,
)

if TYPE_CHECKING:
    from mambair_cli.networks import RestorationNetwork

STORED_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

IMAGE_CHANNELS = (1, 3)

# What shapes do not tell: the white level, and which of the ratios that give one width it was.
UNTOLD = ("mlp_ratio", "img_range")

# What files of MambaIRv2 hold beside the parameters, and the network makes of its configuration.
POSITIONS = "relative_position_index_SA"


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights.

    Attributes:
        network: The module, float32, on the CPU, in evaluation mode, without gradients.
        spec: What it is for.
        path: The file that it came from.
        sha256: Digest of that file.
        notes: What a user should know of the reading, a phrase each: which weights were taken of
            several, what was left out.
    """

    network: RestorationNetwork
    spec: ModelSpec
    path: Path
    sha256: str
    notes: tuple[str, ...] = ()


def load_checkpoint(path: Path) -> LoadedModel:
    """Load a weights file into its network.

    Args:
        path: A file as `read_checkpoint` takes it.

    Returns:
        The network and what it is for.

    Raises:
        CheckpointError: The file cannot be read, is of another network, or one of its tensors is
            missing, left over, of a wrong shape or not finite.
        UsageError: Its network takes other channels than images have.
    """
    raw, network, spec = open_checkpoint(path)
    _require_image_channels(path, network.config)
    return LoadedModel(network, spec, path, digest_of(path), raw.notes)


def open_checkpoint(path: Path) -> tuple[RawCheckpoint, RestorationNetwork, ModelSpec]:
    """Read a weights file and check it against its network.

    Args:
        path: A file as `read_checkpoint` takes it.

    Returns:
        The content as stored, the network as in `LoadedModel`, whose parameters are that content
        where it is stored in float32, and what it is for.

    Raises:
        CheckpointError: As in `load_checkpoint`.
    """
    path = weights_in(path)
    raw = read_checkpoint(path)
    with _naming(path):
        _refuse_quantised(raw.tensors)
        config = _configuration(path, raw)
        raw = replace(raw, tensors=_without_made(raw.tensors, config))
        network = _filled(config, raw.tensors)
        spec = _specification(path, raw, config)
    return raw, network, spec


def holds_network(content: object, kind: type[NetworkConfig]) -> bool:
    """Tell whether what another program read is a network of a kind.

    Args:
        content: A state dict, or what a trainer saved around it.
        kind: The network's configuration.

    Returns:
        False also for a network that was derived from it, which has keys that it has not.
    """
    tensors = unwrapped(content).tensors
    try:
        config = detect_config(tensors)
    except CheckpointError:
        return False
    if type(config) is not kind:
        return False
    return {*_outlined(config).state_dict(), POSITIONS}.issuperset(tensors)


def network_of(content: object) -> RestorationNetwork:
    """Build the network of what another program read.

    Args:
        content: A state dict, or what a trainer saved around it.

    Returns:
        The network as in `LoadedModel`; its parameters are tensors of the state dict where those
        are float32.

    Raises:
        CheckpointError: It is another network, or one of its tensors is missing, left over, of a
            wrong shape or not finite.
    """
    tensors = unwrapped(content).tensors
    _refuse_quantised(tensors)
    config = detect_config(tensors)
    return _filled(config, _without_made(tensors, config))


def require_scale(spec: ModelSpec, scale: int) -> None:
    """Check that weights have the scale that was asked for.

    Args:
        spec: What the weights are for.
        scale: Asked output side over input side.

    Raises:
        UsageError: They differ.
    """
    if spec.scale != scale:
        raise UsageError(
            f"{spec.id} enlarges {spec.scale} times, but scale {scale} was asked for",
            f"use --scale {spec.scale}, or weights for scale {scale}",
        )


def _require_image_channels(path: Path, config: NetworkConfig) -> None:
    given = config.out_channels if isinstance(config, MambaIRUNetConfig) else config.channels
    if config.channels not in IMAGE_CHANNELS or given != config.channels:
        what = f"takes {config.channels} channels"
        if given != config.channels:
            what += f" and gives {given}"
        raise UsageError(
            f"{path}: its network {what}; images have 1 (gray) or 3 (colour)",
            "use weights that were trained on gray or RGB images",
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error


def _refuse_quantised(tensors: Mapping[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if tensor.is_quantized or tensor.dtype.itemsize == 1:
            raise CheckpointError(
                f"{key} holds {str(tensor.dtype).removeprefix('torch.')} values, "
                "expected float32, float16, bfloat16 or float64",
                "these weights were quantised: get those that they were made of",
            )


def _configuration(path: Path, raw: RawCheckpoint) -> NetworkConfig:
    config = detect_config(raw.tensors)
    untold: Sequence[str] = UNTOLD
    if (header_says := header.stated_config(raw.metadata)) is not None:
        stated = asdict(header_says)
        if contradictions := _contradictions(stated, asdict(config), untold):
            raise CheckpointError(
                f"its metadata contradicts its tensors: {contradictions}",
                "convert the original file again: mambair models convert FILE",
            )
        config, untold = _told(config, stated), ()
    stated = {**asdict(config), **stated_beside(path, config)}
    if contradictions := _contradictions(stated, asdict(config), untold):
        raise CheckpointError(
            f"{CONFIG} beside it contradicts it: {contradictions}",
            f"correct or remove {path.parent / CONFIG}",
        )
    return _told(config, stated)


def _told(detected: NetworkConfig, stated: Mapping[str, Any]) -> NetworkConfig:
    return replace(detected, **{name: stated[name] for name in UNTOLD if hasattr(detected, name)})


def _contradictions(
    stated: Mapping[str, Any], detected: Mapping[str, Any], untold: Sequence[str]
) -> str:
    """List where a stated configuration is not the detected one.

    Args:
        stated: Field to value.
        detected: Likewise.
        untold: Fields of which the tensors tell at most a part: several ratios give one width.
    """
    width = 8 * detected["dim"] if "dim" in detected else detected["embed_dim"]
    found = []
    for name, value in detected.items():
        said = stated.get(name)
        agrees = name != "mlp_ratio" or int(width * stated[name]) == int(width * value)
        if said != value and not (name in untold and agrees):
            found.append(f"{name} {reprlib.repr(said)} instead of {value!r}")
    return ", ".join(found)


def _without_made(tensors: dict[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Leave out what MambaIRv2 makes itself and its files hold: the pairs' relative positions."""
    if not isinstance(config, MambaIRv2Config) or POSITIONS not in tensors:
        return tensors
    stored = tensors[POSITIONS].cpu()
    if not torch.equal(stored, relative_positions(config.window_size)):
        raise CheckpointError(
            f"{POSITIONS} numbers the positions in a window otherwise than MambaIRv2 does",
            "its network was changed",
        )
    return {key: tensor for key, tensor in tensors.items() if key != POSITIONS}


def _outlined(config: NetworkConfig) -> RestorationNetwork:
    """Build a network of shapes only."""
    with torch.device("meta"):
        return build_network(config)


def _filled(config: NetworkConfig, tensors: Mapping[str, Tensor]) -> RestorationNetwork:
    """Build a network whose parameters the tensors become, without a second copy."""
    network = _outlined(config)
    _fill(network, tensors)
    return network.eval().requires_grad_(requires_grad=False)


def _fill(network: RestorationNetwork, tensors: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    missing = [key for key in own if key not in tensors]
    unexpected = [key for key in tensors if key not in own]
    if missing or unexpected:
        raise CheckpointError(
            f"keys do not fit {type(network).__name__}: {_listed('missing', missing)}; "
            f"{_listed('unexpected', unexpected)}",
            CHANGED
            if missing
            else "nothing is missing: its network was changed, or something was saved beside it",
        )
    misshapen = [
        f"{key} is {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
        for key, value in own.items()
        if tensors[key].shape != value.shape
    ]
    if misshapen:
        raise CheckpointError(_listed("wrong shapes", misshapen), "its network was changed")
    for key, tensor in tensors.items():
        if tensor.dtype not in STORED_TYPES:
            raise CheckpointError(
                f"{key} holds {str(tensor.dtype).removeprefix('torch.')} values, "
                "expected float32, float16, bfloat16 or float64",
                "quantised weights are not run: get those that they were made from",
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{key} holds NaN or infinity", "its training diverged, or the file is damaged"
            )
    parameters = {key: tensor.float().contiguous() for key, tensor in tensors.items()}
    network.load_state_dict(parameters, assign=True)


def _listed(what: str, items: Sequence[str], shown: int = 3) -> str:
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return f"{what} ({len(items)}): " + (", ".join(items[:shown]) + rest if items else "none")


def _specification(path: Path, raw: RawCheckpoint, config: NetworkConfig) -> ModelSpec:
    stated = header.stated_spec(raw.metadata)
    if stated is None:
        return identify(path, config)
    if (stated.scale, stated.channels) != (config.scale, config.channels):
        raise CheckpointError(
            f"its metadata says scale {stated.scale} and {stated.channels} channels, "
            f"but its network has scale {config.scale} and {config.channels} channels",
            header.EDITED,
        )
    return stated


def identify(path: Path, config: NetworkConfig) -> ModelSpec:
    """Find out what weights are for, as far as name and configuration tell.

    Args:
        path: The weights file; only its name is looked at, or that of its folder where it has a
            name that weights have in every such folder.
        config: Its network's configuration.

    Returns:
        The specification of the published model with that configuration and such a name; else one
        with the file's stem as id, the task that such a network usually has, and no level.
    """
    stem = header.id_from(path.absolute().parent.name if is_of_folder(path) else path.stem)
    alike = [entry for entry in catalogue.entries() if entry.config == config]
    for entry in alike:
        if stem in {entry.id, *(Path(file).stem for file in entry.files)}:
            return entry.spec
    for entry in alike:
        if entry.pattern and re.search(entry.pattern, stem, re.IGNORECASE):
            return entry.spec
    return ModelSpec(stem, _usual_task(config), config.scale, config.channels)


def _usual_task(config: NetworkConfig) -> Task:
    if isinstance(config, MambaIRUNetConfig):
        return "denoise-real"
    if config.scale > 1:
        return "sr"
    return "dejpeg" if config.channels == 1 else "denoise"
