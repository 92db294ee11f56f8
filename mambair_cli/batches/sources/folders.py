"""What lies below a folder, linked folders among it, and what a pattern matches there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path, PurePosixPath

from mambair_cli.batches import stores
from mambair_cli.batches.notices import FOLLOWED, LEFT_OUT, Notice
from mambair_cli.batches.places import identity, resolved
from mambair_cli.batches.sources.left_out import HIDDEN, LEADS_BACK, LINKED_FOLDER, is_litter
from mambair_cli.batches.urls import Place, Url, relative
from mambair_cli.errors import UsageError

OnNotice = Callable[[Notice], None]


def files_below(
    folder: Place, excluded: Place | None, on_notice: OnNotice, *, recursive: bool
) -> Iterator[Place]:
    """Yield the files of a folder in order of their names, hidden ones left out.

    Linked folders are followed, after all others. No folder is entered twice, whatever links lead
    to it.

    Args:
        folder: Where to look.
        excluded: A folder that is left out too, as it is `resolve`d.
        on_notice: Told what is left out, and which links are followed.
        recursive: Look into the folders below.

    Raises:
        UsageError: A folder cannot be read.
    """
    if isinstance(folder, Url):
        for url in stores.below(folder, recursive=recursive):
            if excluded is None or excluded not in url.resolve().parents:
                yield from _visible(url, folder, on_notice)
        return
    for here, names in _Walk(excluded, on_notice, recursive=recursive).folders(folder):
        for name in sorted(names):
            yield from _visible(here / name, here, on_notice)


def matching(root: Place, wildcards: str, on_notice: OnNotice) -> list[tuple[Place, bool]]:
    """List what a pattern matches in order of the names, and whether each is a folder.

    Args:
        root: What the pattern is relative to.
        wildcards: The pattern; `**` follows linked folders as `files_below` does.
        on_notice: Told which links are followed.

    Raises:
        UsageError: A store cannot be asked, or a folder cannot be read.
        ValueError: It is no pattern.
    """
    if isinstance(root, Url):
        return [*stores.matching(root, wildcards)]
    found = dict.fromkeys(_expanded(root, PurePosixPath(wildcards).parts, on_notice))
    return [(path, path.is_dir()) for path in sorted(found)]


def is_hidden(place: Place, root: Place) -> bool:
    """Tell whether a file, or a folder between it and the root, has a name that hides it."""
    # Dot files are other programs' (and our own unfinished) files, never photographs.
    return any(part.startswith(".") for part in relative(place, root).parts)


def _visible(place: Place, root: Place, on_notice: OnNotice) -> Iterator[Place]:
    if not is_hidden(place, root):
        yield place
    elif not is_litter(place):
        on_notice(Notice(LEFT_OUT, HIDDEN, place))


def _expanded(root: Path, parts: tuple[str, ...], on_notice: OnNotice) -> Iterator[Path]:
    """Expand a pattern; `Path.glob` itself follows no links at `**`."""
    if "**" not in parts:
        yield from root.glob("/".join(parts)) if parts else (root,)
        return
    place = parts.index("**")
    before, after = parts[:place], parts[place + 1 :]
    for top in _expanded(root, before, on_notice):
        if not top.is_dir():
            continue
        for folder, _ in _Walk(None, on_notice, recursive=True).folders(top):
            yield from _expanded(folder, after, on_notice)


class _Walk:
    """One pass through folders and those that are linked, each entered once.

    Args:
        excluded: A folder that is left out, as it is `resolve`d.
        on_notice: Told what is left out, and which links are followed.
        recursive: Look into the folders below.
    """

    def __init__(self, excluded: Place | None, on_notice: OnNotice, *, recursive: bool) -> None:
        self._excluded = excluded
        self._on_notice = on_notice
        self._recursive = recursive
        self._entered: set[Hashable] = set()
        self._links: deque[Path] = deque()

    def folders(self, top: Path) -> Iterator[tuple[Path, list[str]]]:
        """Yield each folder and the names of what is in it but folders."""
        yield from self._below(top)
        while self._links:
            link = self._links.popleft()
            if self._leads_back(link):
                self._on_notice(Notice(LEFT_OUT, LEADS_BACK, link))
            else:
                self._on_notice(Notice(FOLLOWED, LINKED_FOLDER, link))
                yield from self._below(link)

    def _below(self, top: Path) -> Iterator[tuple[Path, list[str]]]:
        for parent, directories, files in os.walk(top, onerror=_refuse_unreadable):
            here = Path(parent)
            self._entered.add(identity(here))
            directories[:] = [name for name in sorted(directories) if self._enters(here / name)]
            yield here, files

    def _enters(self, folder: Path) -> bool:
        """Whether a folder is entered now; linked ones are later."""
        if not self._recursive or is_litter(folder):
            return False
        if folder.name.startswith("."):
            self._on_notice(Notice(LEFT_OUT, HIDDEN, folder))
            return False
        # Compared as resolved paths: as strings `data/out` would exclude `data/outdoor` too.
        place = resolved(folder)
        if self._excluded in (place, *place.parents):
            return False
        if folder.is_symlink():
            self._links.append(folder)
            return False
        return identity(folder) not in self._entered

    def _leads_back(self, link: Path) -> bool:
        """Whether a link leads to a folder that was entered, or to one that it lies in itself."""
        target = resolved(link)
        return identity(link) in self._entered or target in resolved(link.parent).parents


def _refuse_unreadable(error: OSError) -> None:
    raise UsageError(
        f"{os.fsdecode(error.filename)} cannot be read: {error.strerror}",
        "make it readable, or name the other folders",
    ) from error
