"""References to files of Hugging Face Hub repositories: `hf://owner/repo[@revision]/path`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from mambair_cli.errors import UsageError

HUB = "hf://"
Kind = Literal["model", "dataset"]
FORM = re.compile(
    r"hf://(?:models/)?(?P<repo>[\w.-]+/[\w.-]+)"
    # Of the revisions that hold a slash, those of pull requests may be written as they are.
    r"(?:@(?P<revision>refs/pr/\d+|[^/@]+))?"
    r"/(?P<path>.+)"
)
OTHER_REPOSITORIES = ("datasets", "spaces", "kernels", "buckets")


@dataclass(frozen=True)
class HubReference:
    """One file of a repository.

    Attributes:
        repo: Owner and name of the repository, such as `cguoh/MambaIR`.
        path: Path of the file in it.
        revision: Branch, tag or commit; None for the main branch.
        kind: What the repository holds.
    """

    repo: str
    path: str
    revision: str | None = None
    kind: Kind = "model"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a reference.

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
                "write hf://owner/repo/path or hf://owner/repo@revision/path",
            )
        parts = f"{found['repo']}/{found['path']}".split("/")
        if "\\" in text or {"", ".", ".."} & set(parts):
            raise UsageError(f"{text} names no file", f"list them at {page(found['repo'])}")
        revision = found["revision"]
        return cls(found["repo"], found["path"], revision and revision.replace("%2F", "/"))

    def __str__(self) -> str:
        revision = self.revision
        if revision is None:
            return f"{HUB}{self.repo}/{self.path}"
        if not revision.startswith("refs/pr/"):
            revision = revision.replace("/", "%2F")
        return f"{HUB}{self.repo}@{revision}/{self.path}"


def page(repo: str, kind: Kind = "model") -> str:
    """Gives the address of the page of a repository.

    Args:
        repo: Owner and name of the repository.
        kind: What it holds.

    Returns:
        The address on the public Hub.
    """
    return f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
