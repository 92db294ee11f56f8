"""Which images a request names: files, folders, patterns, lists of names."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from mambair_cli.batches.locations import Locations
from mambair_cli.batches.manifest import Manifest
from mambair_cli.errors import UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES

OWN_PREFIX = ".mambair-"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Pattern:
    """Names with wildcards.

    Attributes:
        root: The directory before the first wildcard; what is found keeps its place below it.
        wildcards: The rest.
    """

    root: Path
    wildcards: str

    def __str__(self) -> str:
        return str(self.root / self.wildcards)


@dataclass(frozen=True)
class Source:
    """An image to restore.

    Attributes:
        path: The file.
        root: The directory that its place among the outputs is relative to.
    """

    path: Path
    root: Path


def is_url(text: str) -> bool:
    """Whether a name is an address such as `s3://bucket/a.png` and no path."""
    return _URL.match(text) is not None


def read_names(content: bytes, *, null: bool) -> list[str]:
    """Reads a list of file names, which may be any bytes.

    Args:
        content: Names, each ended by a line break, or by a NUL byte; empty ones do not count.
        null: Whether by a NUL byte.

    Returns:
        The names, as `os.fsdecode` gives them.

    Raises:
        UsageError: Names in lines hold a NUL byte.
    """
    if null:
        return [os.fsdecode(name) for name in content.split(b"\0") if name]
    if b"\0" in content:
        raise UsageError("the list of files has NUL bytes", "use --null if they end the names")
    lines = content.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    return [os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip()]


def resolve_inputs(names: Sequence[str], listed: Sequence[str] = ()) -> list[Path | Pattern]:
    """Tells files, folders and patterns from what does not exist.

    A name that exists is that file or folder, whatever characters it has. Files that are our own
    records and unfinished outputs are passed over.

    Args:
        names: As the user typed them.
        listed: Further names, never patterns.

    Raises:
        UsageError: There are none, or some do not exist; all of those are named.
    """
    resolved = {name: _resolve(name) for name in names}
    resolved |= {name: Path(name) if _exists(name) else None for name in listed}
    missing = [name or "''" for name, found in resolved.items() if found is None]
    if missing:
        raise UsageError(f"no such file or directory: {', '.join(missing)}", "check the spelling")
    inputs = [found for found in resolved.values() if found is not None and not _is_ours(found)]
    if not inputs:
        raise UsageError("no input was given", "name at least one image or directory")
    return inputs


def _resolve(name: str) -> Path | Pattern | None:
    if _exists(name):
        return Path(name)
    before, rest = Path(), list(Path(name).parts)
    while rest and _exists(before / rest[0]):
        before /= rest.pop(0)
    return Pattern(before, str(Path(*rest))) if any(map(has_magic, rest)) else None


def _exists(name: str | Path) -> bool:
    # A Path of no name would be the current directory, and one that may not be looked at raises.
    return os.path.exists(name)  # noqa: PTH110


def _is_ours(found: Path | Pattern) -> bool:
    return isinstance(found, Path) and found.name.startswith(OWN_PREFIX)


def find_images(
    inputs: Iterable[Path | Pattern], *, output: Path | None, suffix: str, recursive: bool
) -> list[Source]:
    """Finds the images that inputs stand for.

    A file is taken whatever its suffix. Of a folder, and of what a pattern matches, visible files
    with a supported suffix are taken in order of their names, without those in the output
    directory, and without results of images that are taken too: `photo_x4.png` where the suffix is
    `_x4` and there is a `photo` of any format beside it, and what a record says.

    Args:
        inputs: Files, folders and patterns.
        output: The directory of the results; None for beside each image.
        suffix: What is added to the stems of results.
        recursive: Take sub-folders of folders too.

    Returns:
        Each image once, at least one.

    Raises:
        UsageError: A folder or pattern has no images, or a folder cannot be read.
    """
    found: dict[Path, Source] = {}
    named: set[Path] = set()
    locations = Locations()
    for item in inputs:
        if isinstance(item, Path) and not item.is_dir():
            sources = [Source(item, item.parent)]
            named.add(locations.of(item))
        else:
            sources = _without_named_results(_search(item, output, recursive=recursive), suffix)
            if not sources:
                raise _nothing_found(item, output, recursive=recursive)
        for source in sources:
            found.setdefault(locations.of(source.path), source)
    results = _recorded_results(found.keys(), output, locations) - named
    return [source for location, source in found.items() if location not in results]


def _search(item: Path | Pattern, output: Path | None, *, recursive: bool) -> list[Source]:
    root = item.root if isinstance(item, Pattern) else item
    excluded = None if output is None else output.resolve()
    if excluded is not None and root.resolve() not in excluded.parents:
        excluded = None
    if isinstance(item, Pattern):
        paths = _match(item, excluded, recursive=recursive)
    else:
        paths = _walk(item, excluded, recursive=recursive)
    return [Source(path, root) for path in paths]


def _walk(directory: Path, excluded: Path | None, *, recursive: bool) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory, onerror=_refuse_unreadable):
        here = Path(parent)
        # Compared as resolved paths: as strings `data/out` would exclude `data/outdoor` too.
        directories[:] = sorted(
            name
            for name in directories
            if recursive and not name.startswith(".") and (here / name).resolve() != excluded
        )
        yield from (here / name for name in sorted(files) if _is_candidate(here / name))


def _match(pattern: Pattern, excluded: Path | None, *, recursive: bool) -> Iterator[Path]:
    locations = Locations()
    for path in _matches(pattern):
        below = path.relative_to(pattern.root)
        if any(part.startswith(".") for part in below.parts):
            continue
        if path.is_dir():
            folder = locations.of_folder(path)
            if excluded not in (folder, *folder.parents):
                yield from _walk(path, excluded, recursive=recursive)
        elif excluded not in locations.of(path).parents and _is_candidate(path):
            yield path


def _matches(pattern: Pattern) -> list[Path]:
    # What is found keeps its place among the results, which must not be outside of their folder.
    if ".." in Path(pattern.wildcards).parts:
        raise UsageError(f"{pattern} is no pattern: .. follows a wildcard", "leave out the ..")
    try:
        return sorted(pattern.root.glob(pattern.wildcards))
    except ValueError as error:
        raise UsageError(
            f"{pattern} is no pattern: {error}", "** stands alone between slashes: a/**/*.png"
        ) from error


def _refuse_unreadable(error: OSError) -> None:
    raise UsageError(
        f"{os.fsdecode(error.filename)} cannot be read: {error.strerror}",
        "make it readable, or name the other folders",
    ) from error


def _is_candidate(path: Path) -> bool:
    # Dot files are other programs' (and our own unfinished) files, never photographs.
    visible = not path.name.startswith(".")
    return visible and path.suffix.lower() in SUPPORTED_SUFFIXES and path.is_file()


def _without_named_results(found: list[Source], suffix: str) -> list[Source]:
    if not suffix:
        return found
    stems = {(source.path.parent, source.path.stem) for source in found}
    return [
        source
        for source in found
        if not source.path.stem.endswith(suffix)
        or (source.path.parent, source.path.stem.removesuffix(suffix)) not in stems
    ]


def _recorded_results(
    sources: Collection[Path], output: Path | None, locations: Locations
) -> set[Path]:
    """Those that an earlier run made from others of them; it need not have used the same names."""
    folders = {source.parent for source in sources}
    recording = folders if output is None else {locations.of_folder(output)}
    if output is not None and not any(recording & {folder, *folder.parents} for folder in folders):
        return set()  # none of them lies where results are written: no record need be read
    return {
        locations.of(result)
        for directory in recording
        for result, source in Manifest(directory).outputs()
        if locations.of(source) in sources
    }


def _nothing_found(item: Path | Pattern, output: Path | None, *, recursive: bool) -> UsageError:
    if isinstance(item, Pattern):
        return UsageError(
            f"no image matches {item}", "check the pattern; files of other kinds have to be named"
        )
    if not recursive and _search(item, output, recursive=True):
        return UsageError(
            f"{item} has no images of its own, only in its sub-directories",
            "use -r to take those",
        )
    listed = ", ".join(sorted(SUPPORTED_SUFFIXES))
    return UsageError(f"{item} has no images", f"supported are {listed}")
