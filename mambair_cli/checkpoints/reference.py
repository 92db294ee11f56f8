"""What weights are named by: files of this machine, or `hf://owner/repo[@revision][/path]`."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal, Protocol, Self

from mambair_cli.errors import CheckpointError, UsageError

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")

# In a folder of one model, as huggingface_hub's PyTorchModelHubMixin writes and reads it.
FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"

HUB = "hf://"
Kind = Literal["model", "dataset"]
FORM = re.compile(
    r"hf://(?:models/)?(?P<repo>[\w.-]+/[\w.-]+)"
    # Of the revisions that hold a slash, those of pull requests may be written as they are.
    r"(?:@(?P<revision>refs/pr/\d+|[^/@]+))?"
    r"(?:/(?P<path>.+)|/?)"
)
# As huggingface_hub checks it.
NAME = re.compile(r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
# Bytes from which a size is told in megabytes.
LEAST_MEGABYTES = 100_000
OTHER_REPOSITORIES = ("datasets", "spaces", "kernels", "buckets")


@dataclass(frozen=True)
class HubReference:
    """One file of a repository, or the repository as the folder of one model.

    Attributes:
        repo: Owner and name of the repository, such as `cguoh/MambaIR`.
        path: Path of the file in it; empty for the folder.
        revision: Branch, tag or commit; None for the main branch.
        kind: What the repository holds.
    """

    repo: str
    path: str
    revision: str | None = None
    kind: Kind = "model"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Args:
            text: What the user gave.

        Returns:
            The reference.

        Raises:
            UsageError: It has another form, or does not name a file of a model repository.
        """
        found = FORM.fullmatch(text)
        if found is None or text.removeprefix(HUB).split("/")[0] in OTHER_REPOSITORIES:
            raise UsageError(
                f"{text} is no reference to a file of a model repository",
                "write hf://owner/repo/path, hf://owner/repo@revision/path, or hf://owner/repo for "
                "a repository of one model",
            )
        path = found["path"] or ""
        parts = [*found["repo"].split("/"), *(path.split("/") if path else ())]
        if "\\" in text or {"", ".", ".."} & set(parts):
            raise UsageError(f"{text} names no file", f"list them at {page(found['repo'])}")
        if not all(NAME.fullmatch(part) for part in found["repo"].split("/")):
            raise UsageError(
                f"{text} names no repository",
                "names have letters, digits, and - _ . within them, and at most 96 characters",
            )
        revision = found["revision"]
        return cls(found["repo"], path, revision and revision.replace("%2F", "/"))

    @property
    def candidates(self) -> list[Self]:
        """The files that may be meant, the likeliest first."""
        return [self] if self.path else [replace(self, path=name) for name in FOLDER_WEIGHTS]

    def __str__(self) -> str:
        revision, path = self.revision, f"/{self.path}" if self.path else ""
        if revision is None:
            return f"{HUB}{self.repo}{path}"
        if not revision.startswith("refs/pr/"):
            revision = revision.replace("/", "%2F")
        return f"{HUB}{self.repo}@{revision}{path}"


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository at one commit.

    Attributes:
        reference: What was asked for.
        revision: The commit.
        digest: SHA-256 of the file, or Git's object id for a small one, as the Hub states it.
        size: Its bytes; None where the Hub does not say.
    """

    reference: HubReference
    revision: str
    digest: str
    size: int | None

    @property
    def repo(self) -> str:
        """Owner and name of the repository."""
        return self.reference.repo

    @property
    def path(self) -> str:
        """Path of the file in the repository."""
        return self.reference.path

    def __str__(self) -> str:
        if self.size is None:
            size = "of unknown size"
        elif self.size < LEAST_MEGABYTES:
            size = f"{self.size / 1e3:.1f} kB"
        else:
            size = f"{self.size / 1e6:.1f} MB"
        return f"{self.path} from {self.repo}, {size}"


class Listener(Protocol):
    """Is told what happens while something is fetched."""

    def waiting(self, name: str) -> None:
        """Hear that another process fetches the same."""

    def started(self, file: HubFile) -> None:
        """Hear that a download begins."""

    def progressed(self, done: int, total: int | None) -> None:
        """Hear how many bytes of how many are here."""

    def troubled(self, reason: str) -> None:
        """Hear that the connection failed and is tried again."""

    def finished(self) -> None:
        """Hear that the download has ended, well or not."""


def page(repo: str, kind: Kind = "model") -> str:
    """Give the address of the page of a repository.

    Args:
        repo: Owner and name of the repository.
        kind: What it holds.

    Returns:
        The address on the public Hub.
    """
    return f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"


def weights_in(path: Path) -> Path:
    """Find the weights in the folder of one model.

    Args:
        path: A folder, or anything else.

    Returns:
        The weights file in it; the path itself where there is none.
    """
    # The functions of os.path answer where those of Path raise: a name too long, no permission.
    files = (path / name for name in FOLDER_WEIGHTS)
    return next((file for file in files if os.path.isfile(file)), path)  # noqa: PTH113


def is_of_folder(path: PurePath) -> bool:
    """Tell whether weights have the name that they have in the folder of one model."""
    return path.name in FOLDER_WEIGHTS


def require_file(path: Path) -> None:
    """Check that a path names a file.

    Args:
        path: What the user gave.

    Raises:
        CheckpointError: It is missing or a directory; the hint names what is there instead.
    """
    # The functions of os.path answer where those of Path raise: a name too long, no permission.
    if os.path.isfile(path):  # noqa: PTH113
        return
    is_directory = os.path.isdir(path)  # noqa: PTH112
    directory = path if is_directory else path.parent
    siblings = _weights_in(directory)
    if is_directory:
        hint = "a folder of a model holds model.safetensors, as `mambair models push` writes it"
        if siblings:
            hint = "name one of its files: " + ", ".join(siblings[:5])
        raise CheckpointError(f"{path} is a directory, not a weights file", hint)
    close = difflib.get_close_matches(path.name, siblings, n=3) or siblings[:5]
    if close:
        hint = f"{directory} holds: " + ", ".join(close)
    else:
        hint = "`mambair models list` names the models; --weights takes a .safetensors or .pth file"
    raise CheckpointError(f"no such weights file: {path}", hint)


def _weights_in(directory: Path) -> list[str]:
    try:
        files = sorted(directory.iterdir())
    except OSError:
        return []
    return [file.name for file in files if file.suffix.lower() in WEIGHTS_SUFFIXES]
