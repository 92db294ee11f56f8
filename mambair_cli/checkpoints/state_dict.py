"""A weights file read into tensors: safetensors, or a pickle by PyTorch's restricted reader."""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import safe_globals

from mambair_cli.checkpoints import inert
from mambair_cli.checkpoints.pickle_program import harm
from mambair_cli.checkpoints.shards import files_of
from mambair_cli.checkpoints.unwrapping import WRAPPERS, unwrapped
from mambair_cli.errors import CheckpointError

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
NEWEST_PROTOCOL = 3  # of pickles, that PyTorch's restricted reader reads
MOST_REPLACED = 20  # classes that are not weights, in one file
LONGEST_NAME = 300  # characters of a tensor's name

# What the restricted reader says of a class or function that it does not know.
_REFUSED = re.compile(r"GLOBAL (\S+)")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")

TRUSTED = "get the weights as .safetensors from a source that you trust"
DOWNLOAD_AGAIN = "download it again, and compare its size with the size on the page it came from"


# What a file holds, its text entries, and how it is stored.
Stored = tuple[object, dict[str, str], Literal["safetensors", "pickle"]]


@dataclass(frozen=True)
class RawCheckpoint:
    """The content of a weights file before anything is known about the network.

    Attributes:
        tensors: State-dict key to tensor, as stored, on the CPU.
        metadata: The safetensors header's text entries; empty for a pickle.
        format: How the file is stored.
        wrapper: Key of the pickle under which the state dict was found; empty when at the top.
        notes: What was chosen among several state dicts, and what was left out, a phrase each.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    format: Literal["safetensors", "pickle"]
    wrapper: str = ""
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> RawCheckpoint:
    """Read a weights file; its bytes, and not its suffix, decide how.

    Args:
        path: A `.safetensors` file, or a pickle written by `torch.save`; of several, any part or
            their index.

    Returns:
        Its tensors, unwrapped from the trainer's dictionary, with the network's own keys.

    Raises:
        CheckpointError: The file is missing, empty, damaged, something else than weights, or a
            pickle that wants to run code.
    """
    stored = [_stored(file) for file in files_of(path)]
    content, metadata, kind = stored[0] if len(stored) == 1 else _joined(path, stored)
    found = unwrapped(content)
    if not found.tensors:
        raise CheckpointError(
            f"{path} holds no state dict, but {_describe(content)}",
            "expected a dictionary of tensors, at the top or under: " + ", ".join(WRAPPERS),
        )
    for key, tensor in found.tensors.items():
        if not _is_plain(tensor):
            raise CheckpointError(
                f"{path} was refused: {key!a} is no plain tensor",
                "save only the state dict: torch.save(network.state_dict(), FILE)",
            )
    tensors = {key: tensor.detach() for key, tensor in found.tensors.items()}
    _refuse_odd_names(path, tensors)
    return RawCheckpoint(tensors, metadata, kind, found.wrapper, found.notes)


def _stored(path: Path) -> Stored:
    """Read one file."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            if not head:
                raise CheckpointError(f"{path} is empty (0 bytes)", DOWNLOAD_AGAIN)
            if _is_safetensors(head):
                return _read_safetensors(path)
            _refuse_known_text(path, head)
            file.seek(0)
            return _read_pickle(path, file, head), {}, "pickle"
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}", "check what you may do with it"
        ) from error


def _joined(path: Path, stored: Sequence[Stored]) -> Stored:
    """Put the content of parts together."""
    content: dict[object, object] = {}
    for part, _, _ in stored:
        if not isinstance(part, Mapping) or not content.keys().isdisjoint(part):
            raise CheckpointError(
                f"{path} is of parts that do not belong together",
                "each part holds tensors of its own: fetch all of them again",
            )
        content |= part
    return content, stored[0][1], stored[0][2]


def _is_safetensors(head: bytes) -> bool:
    # The header's length as eight little-endian bytes, under 100 MB, then the header's JSON object.
    return head[4:9] == b"\0\0\0\0{"


def _read_safetensors(path: Path) -> Stored:
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
    return tensors, metadata, "safetensors"


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


def _read_pickle(path: Path, file: BinaryIO, head: bytes) -> object:
    _refuse_bomb(path)
    _refuse_other_archive(path)
    try:
        if harmful := harm(file):
            raise CheckpointError(f"{path} was refused: {harmful}", TRUSTED)
        return _content(file)
    except DAMAGE as error:
        raise _pickle_error(path, head, str(error)) from error


def _content(file: BinaryIO) -> object:
    """Run PyTorch's restricted reader; what is inert beside the weights becomes a stand-in."""
    replaced: dict[str, inert.StandIn] = {}
    while True:
        file.seek(0)
        try:
            with warnings.catch_warnings(), safe_globals([*replaced.values()]):
                # An unusual pickle protocol is either read or reported by the caller.
                warnings.simplefilter("ignore", UserWarning)
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = _REFUSED.search(str(error))
            name = refused[1] if refused else ""
            stand_in = inert.stand_in_for(name)
            if stand_in is None or name in replaced or len(replaced) > MOST_REPLACED:
                raise
            replaced[name] = stand_in


def _refuse_other_archive(path: Path) -> None:
    """Name a ZIP archive that PyTorch did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, *DAMAGE):
        return
    if any(name.lower().endswith(("data.pkl", "constants.pkl")) for name in names) or not names:
        return
    if all(name.endswith(".npy") for name in names):
        raise CheckpointError(
            f"{path} is an archive of NumPy arrays, not a weights file",
            "convert it: safetensors.torch.save_file({key: torch.from_numpy(value) "
            "for key, value in numpy.load(FILE).items()}, 'weights.safetensors')",
        )
    held = [name for name in names if name.endswith(WEIGHTS_SUFFIXES) and name.isprintable()]
    raise CheckpointError(
        f"{path} is a ZIP archive, not a weights file",
        f"unpack it, and name what is inside: {', '.join(held[:3])[:LONGEST_NAME]}"
        if held
        else "expected .safetensors, or .pth as written by torch.save",
    )


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
    refused = _REFUSED.search(reason)
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
    if (protocol := _pickle_protocol(path, head)) > NEWEST_PROTOCOL:
        return CheckpointError(
            f"{path} is a pickle of protocol {protocol}, which the restricted reader cannot read",
            "save it again with PyTorch's default: torch.save(network.state_dict(), FILE)",
        )
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return CheckpointError(f"{path} is damaged or was cut short", DOWNLOAD_AGAIN)
    kind = "a text file" if _is_text(head) else "of an unknown format"
    return CheckpointError(
        f"{path} is {kind}, not a weights file",
        "expected .safetensors, or .pth as written by torch.save",
    )


def _pickle_protocol(path: Path, head: bytes) -> int:
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(name) as program:
                    head = program.read(2)
        except (zipfile.BadZipFile, StopIteration, NotImplementedError, *DAMAGE):
            return 0
    return head[1] if len(head) > 1 and head[0] == pickle.PROTO[0] else 0


def _first_global(path: Path, head: bytes) -> str | None:
    """Name the first function or class that a bare pickle asks for; nothing of it is run."""
    begins_like_one = head.startswith(b"\x80")
    wanted = None
    strings: list[str] = []
    with path.open("rb") as file:
        try:
            for operation, argument, _ in pickletools.genops(file):
                if wanted is None and operation.name == "GLOBAL":
                    wanted = str(argument).replace(" ", ".")
                if wanted is None and operation.name == "STACK_GLOBAL":
                    wanted = ".".join(strings[-2:])
                if wanted is not None and begins_like_one:
                    break
                if isinstance(argument, str):
                    strings.append(argument)
        except (ValueError, IndexError, OverflowError, MemoryError):
            return None
    return wanted


def _is_text(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head)


def _describe(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if not content:
        return "an empty dictionary"
    keys = [
        ascii(key[:40])[1:-1] if isinstance(key, str) else type(key).__name__ for key in content
    ]
    return "the keys " + ", ".join(keys[:5])
