"""A weights file read into tensors: safetensors, or a pickle by PyTorch's restricted reader."""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mambair_cli.checkpoints.pickle_program import harm
from mambair_cli.checkpoints.reference import require_file
from mambair_cli.errors import CheckpointError

# Where trainers put the state dict, best first: the averaged weights are the published ones.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "network", "net")
PARALLEL_PREFIXES = ("module.", "_orig_mod.")

# What PyTorch's readers raise on damaged data, found by cutting and flipping bytes of real files.
DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    AssertionError,
    MemoryError,
    struct.error,
)

# Weights hardly compress: what unpacks to more than this many times its size is made to harm.
MOST_UNPACKED = 10
LONGEST_NAME = 300  # characters of a tensor's name

TRUSTED = "get the weights as .safetensors from a source that you trust"
DOWNLOAD_AGAIN = "download it again, and compare its size with the size on the page it came from"


@dataclass(frozen=True)
class RawCheckpoint:
    """The content of a weights file before anything is known about the network.

    Attributes:
        tensors: State-dict key to tensor, as stored, on the CPU.
        metadata: The safetensors header's text entries; empty for a pickle.
        format: How the file is stored.
        wrapper: Key of the pickle under which the state dict was found; empty when at the top.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    format: Literal["safetensors", "pickle"]
    wrapper: str = ""


def read_checkpoint(path: Path) -> RawCheckpoint:
    """Read a weights file; its bytes, and not its suffix, decide how.

    Args:
        path: A `.safetensors` file, or a pickle written by `torch.save`.

    Returns:
        Its tensors, unwrapped from the trainer's dictionary and without a data-parallel prefix.

    Raises:
        CheckpointError: The file is missing, empty, damaged, something else than weights, or a
            pickle that wants to run code.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
            if not head:
                raise CheckpointError(f"{path} is empty (0 bytes)", DOWNLOAD_AGAIN)
            if _is_safetensors(head):
                return _read_safetensors(path)
            _refuse_known_text(path, head)
            file.seek(0)
            return _read_pickle(path, file, head)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_safetensors(head: bytes) -> bool:
    # The header's length as eight little-endian bytes, under 100 MB, then the header's JSON object.
    return head[4:9] == b"\0\0\0\0{"


def _read_safetensors(path: Path) -> RawCheckpoint:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, *DAMAGE) as error:
        raise CheckpointError(
            f"{path} is damaged or was cut short ({ascii(str(error))[1:-1]})", DOWNLOAD_AGAIN
        ) from error
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors", DOWNLOAD_AGAIN)
    _refuse_odd_names(path, tensors)
    return RawCheckpoint(_without_prefix(tensors), metadata, "safetensors")


def _refuse_known_text(path: Path, head: bytes) -> None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{path} is a web page, not a weights file",
            "the download saved an error or log-in page: fetch the file itself",
        )
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights themselves",
            "run `git lfs pull` in its repository, or download the file from its page",
        )


def _read_pickle(path: Path, file: BinaryIO, head: bytes) -> RawCheckpoint:
    _refuse_bomb(path)
    if found := harm(path):
        raise CheckpointError(f"{path} was refused: {found}", TRUSTED)
    try:
        with warnings.catch_warnings():
            # An unusual pickle protocol is either read or reported below.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise _pickle_error(path, head, str(error)) from error
    wrapper, state = _unwrap(content)
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    for key, tensor in tensors.items():
        if not _is_plain(tensor):
            raise CheckpointError(
                f"{path} was refused: {key!a} is no plain tensor",
                "save only the state dict: torch.save(network.state_dict(), FILE)",
            )
    tensors = {key: tensor.detach() for key, tensor in tensors.items()}
    if not tensors:
        raise CheckpointError(
            f"{path} holds no state dict, but {_describe(content)}",
            "expected a dictionary of tensors, at the top or under: " + ", ".join(WRAPPERS),
        )
    _refuse_odd_names(path, tensors)
    return RawCheckpoint(_without_prefix(tensors), {}, "pickle", wrapper)


def _refuse_odd_names(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # Names are shown in messages, and a terminal obeys what is not printable.
    for key in tensors:
        if not key.isprintable() or len(key) > LONGEST_NAME:
            raise CheckpointError(
                f"{path} is damaged: it has a tensor named {key[:40]!a}", DOWNLOAD_AGAIN
            )


def _refuse_bomb(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, *DAMAGE):
        return  # PyTorch's reader says what is wrong with it
    size = path.stat().st_size
    if unpacked > MOST_UNPACKED * size:
        raise CheckpointError(
            f"{path} was refused: its {size} bytes unpack to {unpacked}, and weights do not shrink"
            " like that",
            TRUSTED,
        )


def _is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor holds all its elements; a view may claim any size on a few bytes."""
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type != "cpu":
        return False
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def _pickle_error(path: Path, head: bytes, reason: str) -> CheckpointError:
    refused = re.search(r"GLOBAL (\S+)", reason)
    if wanted := refused[1] if refused else _first_global(path, head):
        return CheckpointError(
            f"{path} was refused: it wants to run {ascii(wanted)[1:-1][:LONGEST_NAME]}, "
            "and weights need no code",
            "get the weights as .safetensors, or save only the state dict: "
            "torch.save(network.state_dict(), FILE)",
        )
    if "TorchScript" in reason:
        return CheckpointError(
            f"{path} is a TorchScript program, not a state dict",
            "save only the state dict: torch.save(network.state_dict(), FILE)",
        )
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return CheckpointError(f"{path} is damaged or was cut short", DOWNLOAD_AGAIN)
    kind = "a text file" if _is_text(head) else "of an unknown format"
    return CheckpointError(
        f"{path} is {kind}, not a weights file",
        "expected .safetensors, or .pth as written by torch.save",
    )


def _first_global(path: Path, head: bytes) -> str | None:
    """Name the first function or class that a bare pickle asks for; nothing of it is run."""
    if not head.startswith(b"\x80"):
        return None
    strings: list[str] = []
    with path.open("rb") as file:
        try:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if operation.name == "STACK_GLOBAL":
                    return ".".join(strings[-2:])
                if isinstance(argument, str):
                    strings.append(argument)
        except (ValueError, IndexError, OverflowError, MemoryError):
            return None
    return None


def _is_text(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head)


def _unwrap(content: object) -> tuple[str, Mapping[str, object]]:
    path: list[str] = []
    # A dictionary may hold itself, and then nothing else is found in it.
    while isinstance(content, Mapping) and len(path) < len(WRAPPERS):
        wrapped = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not wrapped:
            named = {key: value for key, value in content.items() if isinstance(key, str)}
            return ".".join(path), named
        path.append(wrapped[0])
        content = content[wrapped[0]]
    return "", {}


def _describe(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if not content:
        return "an empty dictionary"
    keys = [
        ascii(key[:40])[1:-1] if isinstance(key, str) else type(key).__name__ for key in content
    ]
    return "the keys " + ", ".join(keys[:5])


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PARALLEL_PREFIXES * 2:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
