"""Which images a request names: files, folders, patterns, lists of names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path, PurePosixPath

from mambair_cli.batches import places
from mambair_cli.batches.manifest import Manifest
from mambair_cli.batches.naming import OWN_PREFIX
from mambair_cli.batches.notices import LEFT_OUT, Notice, ignore
from mambair_cli.batches.places import Locations
from mambair_cli.batches.sources.folders import OnNotice, files_below, is_hidden, matching
from mambair_cli.batches.sources.left_out import RESULT, is_litter, kind_of, lines
from mambair_cli.batches.urls import Place, Url, path_text
from mambair_cli.errors import UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Pattern:
    """Names with wildcards.

    Attributes:
        root: The folder before the first wildcard; what is found keeps its place below it.
        wildcards: The rest.
    """

    root: Place
    wildcards: str

    def __str__(self) -> str:
        return str(self.root / self.wildcards)


@dataclass(frozen=True)
class Source:
    """An image to restore.

    Attributes:
        path: The file.
        root: The folder that its place among the outputs is relative to.
    """

    path: Place
    root: Place


# A file or folder, a pattern, or what is known to be a file.
Input = Place | Pattern | Source


def read_names(content: bytes, *, null: bool) -> list[str]:
    """Read a list of file names, which may be any bytes.

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


def resolve_inputs(names: Sequence[str], listed: Sequence[str] = ()) -> list[Input]:
    """Tell files, folders and patterns from what does not exist.

    A name that exists is that file or folder, whatever characters it has. Files that are our own
    records and unfinished outputs are passed over.

    Args:
        names: Paths and addresses, as the user typed them.
        listed: Further ones, never patterns; addresses among them are files, and no store is asked
            for each whether it is there.

    Raises:
        UsageError: There are none, or some do not exist; all of those are named.
    """
    resolved = {name: _resolve(name) for name in names}
    resolved |= {name: _resolve_listed(name) for name in listed}
    missing = [name or "''" for name, found in resolved.items() if found is None]
    if missing:
        raise UsageError(f"no such file or directory: {', '.join(missing)}", "check the spelling")
    inputs = [found for found in resolved.values() if found is not None and not _is_ours(found)]
    if not inputs:
        raise UsageError("no input was given", "name at least one image or directory")
    return inputs


def _resolve(name: str) -> Input | None:
    path = path_text(name)
    if path is None:
        url = Url.parse(name)
        if places.is_file(url):
            return Source(url, url.parent)
        return url if places.is_folder(url) else _pattern(Url(url.scheme, PurePosixPath()), url)
    # A Path of no name would be the current directory, and one that may not be looked at raises.
    return Path(path) if os.path.exists(path) else _pattern(Path(), Path(path))  # noqa: PTH110


def _resolve_listed(name: str) -> Input | None:
    path = path_text(name)
    if path is None:
        url = Url.parse(name)
        return Source(url, url.parent)
    return Path(path) if os.path.exists(path) else None  # noqa: PTH110


def _pattern(before: Place, named: Place) -> Pattern | None:
    """Divide a name before its first part with wildcards; None if there is none."""
    rest = list(named.parts)
    while rest and (not has_magic(rest[0]) or places.is_folder(before / rest[0])):
        before /= rest.pop(0)
    return Pattern(before, "/".join(rest)) if rest else None


def _is_ours(found: Input) -> bool:
    path = found.path if isinstance(found, Source) else found
    return not isinstance(path, Pattern) and path.name.startswith(OWN_PREFIX)


def is_one_file(inputs: Sequence[Input]) -> bool:
    """Tell whether inputs are one file, and neither a folder nor a pattern."""
    return len(inputs) == 1 and isinstance(_told_apart(inputs[0]), Source)


def _told_apart(item: Input) -> Input:
    """Return a file as a source, and folders and patterns as they are."""
    if isinstance(item, Pattern | Source) or places.is_folder(item):
        return item
    return Source(item, item.parent)


def find_images(
    inputs: Iterable[Input],
    *,
    output: Place | None,
    suffix: str,
    recursive: bool,
    on_notice: OnNotice = ignore,
) -> list[Source]:
    """Find the images that inputs stand for.

    A file is taken whatever its suffix. Of a folder, and of what a pattern matches, visible files
    with a supported suffix are taken in order of their names, without those in the output
    directory, and without results of images that are taken too: `photo_x4.png` where the suffix is
    `_x4` and there is a `photo` of any format beside it, and what a record says.

    Args:
        inputs: From `resolve_inputs`.
        output: The directory of the results; None for beside each image.
        suffix: What is added to the stems of results.
        recursive: Take sub-folders of folders too.
        on_notice: Told what of folders is left out, and which links to folders are followed.

    Returns:
        Each image once, at least one.

    Raises:
        UsageError: A folder or pattern has no images, or a folder cannot be read.
    """
    found: dict[Place, Source] = {}
    named: set[Place] = set()
    locations = Locations()
    for item in map(_told_apart, inputs):
        if isinstance(item, Source):
            sources = [item]
            named.add(locations.of(item.path))
        else:
            notices: list[Notice] = []
            sources = _search(item, output, notices.append, recursive=recursive)
            sources = _without_named_results(sources, suffix, notices.append)
            if not sources:
                raise _nothing_found(item, output, notices, recursive=recursive)
            for notice in notices:
                on_notice(notice)
        for source in sources:
            found.setdefault(locations.of(source.path), source)
    if found.keys() <= named:
        return list(found.values())
    results = _recorded_results(found.keys(), output, locations) - named
    for result in found.keys() & results:
        on_notice(Notice(LEFT_OUT, RESULT, found[result].path))
    return [source for location, source in found.items() if location not in results]


def _search(
    item: Place | Pattern, output: Place | None, on_notice: OnNotice, *, recursive: bool
) -> list[Source]:
    root = item.root if isinstance(item, Pattern) else item
    excluded = None if output is None else places.resolved(output)
    if excluded in (here := places.resolved(root), *here.parents):
        excluded = None
    if isinstance(item, Pattern):
        paths = _match(item, excluded, on_notice, recursive=recursive)
    else:
        paths = files_below(item, excluded, on_notice, recursive=recursive)
    return [Source(path, root) for path in paths if _is_taken(path, on_notice)]


def _match(
    pattern: Pattern, excluded: Place | None, on_notice: OnNotice, *, recursive: bool
) -> Iterator[Place]:
    locations = Locations()
    for path, is_folder in _matches(pattern, on_notice):
        if is_hidden(path, pattern.root):
            continue
        if is_folder:
            folder = locations.of_folder(path)
            if excluded not in (folder, *folder.parents):
                yield from files_below(path, excluded, on_notice, recursive=recursive)
        elif excluded not in locations.of(path).parents:
            yield path


def _matches(pattern: Pattern, on_notice: OnNotice) -> list[tuple[Place, bool]]:
    # What is found keeps its place among the results, which must not be outside of their folder.
    if ".." in PurePosixPath(pattern.wildcards).parts:
        raise UsageError(f"{pattern} is no pattern: .. follows a wildcard", "leave out the ..")
    try:
        return matching(pattern.root, pattern.wildcards, on_notice)
    except ValueError as error:
        raise UsageError(
            f"{pattern} is no pattern: {error}", "** stands alone between slashes: a/**/*.png"
        ) from error


def _is_taken(path: Place, on_notice: OnNotice) -> bool:
    if path.suffix.lower() in SUPPORTED_SUFFIXES and (isinstance(path, Url) or path.is_file()):
        return True
    if not is_litter(path):
        on_notice(Notice(LEFT_OUT, kind_of(path), path))
    return False


def _without_named_results(found: list[Source], suffix: str, on_notice: OnNotice) -> list[Source]:
    if not suffix:
        return found
    stems = {(source.path.parent, source.path.stem) for source in found}
    sources = []
    for source in found:
        folder, stem = source.path.parent, source.path.stem
        if stem.endswith(suffix) and (folder, stem.removesuffix(suffix)) in stems:
            on_notice(Notice(LEFT_OUT, RESULT, source.path))
        else:
            sources.append(source)
    return sources


def _recorded_results(
    sources: Collection[Place], output: Place | None, locations: Locations
) -> set[Place]:
    """Find those that an earlier run made from others; it need not have used the same names."""
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


def _nothing_found(
    item: Place | Pattern, output: Place | None, notices: Sequence[Notice], *, recursive: bool
) -> UsageError:
    if isinstance(item, Pattern):
        return UsageError(
            f"no image matches {item}", "check the pattern; files of other kinds have to be named"
        )
    if not recursive and _search(item, output, ignore, recursive=True):
        return UsageError(
            f"{item} has no images of its own, only in its sub-directories",
            "use -r to take those",
        )
    supported = f"supported are {', '.join(sorted(SUPPORTED_SUFFIXES))}"
    return UsageError(f"{item} has no images", "\n".join([*lines(notices), supported]))
