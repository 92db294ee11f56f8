"""Which files are restored into which; what can be refused is refused before any work."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: The input image.
        target: The output image; its suffix decides the format.
        record: The directory whose manifest records it; the target is in it or further down.
        refusal: Why it must not be done, None when it may: its output exists already.
    """

    source: Path
    target: Path
    record: Path
    refusal: OutputError | None = None


def plan_jobs(
    inputs: Sequence[Path],
    *,
    output: Path | None,
    suffix: str,
    format: str | None,  # noqa: A002 - the name of the option
    recursive: bool,
    overwrite: bool,
) -> list[Job]:
    """Finds the images to restore and where each result goes.

    Of a directory, visible files with a supported suffix are taken, in order of their names; a
    file named outright is tried whatever its suffix. Left out of a directory are the output
    directory and earlier results: `photo_x4.png` where the suffix is `_x4` and there is a `photo`
    of any format beside it.

    Args:
        inputs: Files and directories.
        output: A file (for one input file), a directory (made if need be, directory trees are
            mirrored under it), or None for beside each input. A path that does not exist yet is a
            file if the input is one file and the path has a suffix.
        suffix: Added to each stem, such as `_x4`; not where `output` is a file.
        format: Suffix of the outputs, such as `png`; None for that of each input.
        recursive: Take sub-directories too.
        overwrite: Existing outputs may be replaced; else they are refused one by one.

    Returns:
        The jobs, at least one. No target is an input, and no two targets are the same file.

    Raises:
        UsageError: An input is missing, a directory has no images, outputs collide with each other
            or with an input, or the output's format is not supported.
    """
    _check_exist(inputs)
    extension = _extension(format)
    if output is not None and _names_a_file(output, inputs):
        pairs = [(inputs[0], _file_target(output, extension))]
        output = output.parent
    else:
        pairs = [
            (source, _target(source, root, output, suffix, extension))
            for source, root in _unique(_sources(inputs, output, suffix, recursive=recursive))
        ]
    _check_collisions(pairs)
    _check_not_inputs(pairs, [source for source, _ in pairs])
    return [
        Job(source, target, output or target.parent, None if overwrite else _exists_already(target))
        for source, target in pairs
    ]


def _check_exist(inputs: Sequence[Path]) -> None:
    if not inputs:
        raise UsageError("no input was given", "name at least one image or directory")
    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise UsageError(f"no such file or directory: {', '.join(missing)}", "check the spelling")


def _extension(name: str | None) -> str | None:
    if name is None:
        return None
    extension = "." + name.lower().removeprefix(".")
    if extension not in SUPPORTED_SUFFIXES:
        raise UsageError(f"format {name!r} cannot be written", f"choose one of: {_formats()}")
    return extension


def _names_a_file(output: Path, inputs: Sequence[Path]) -> bool:
    if output.is_dir():
        return False
    one_file = len(inputs) == 1 and not inputs[0].is_dir()
    if output.exists() and not one_file:
        raise UsageError(
            f"{output} is a file, but more than one image may be written",
            "give -o a directory",
        )
    if not one_file and output.suffix.lower() in SUPPORTED_SUFFIXES:
        raise UsageError(
            f"{output} names one file, but more than one image may be written",
            f"give -o a directory, for example {output.with_suffix('')}/",
        )
    return one_file and (output.exists() or output.suffix != "")


def _file_target(output: Path, extension: str | None) -> Path:
    if output.suffix.lower() not in SUPPORTED_SUFFIXES:
        raise UsageError(
            f"{output}: images cannot be written as {output.suffix or 'a file without suffix'}",
            f"use one of {_formats()}; if it is meant as a directory, create it first",
        )
    if extension is not None and output.suffix.lower() != extension:
        raise UsageError(
            f"{output} does not end in the requested format {extension}",
            "leave out --format, or change the name",
        )
    return output


def _sources(
    inputs: Sequence[Path], output: Path | None, suffix: str, *, recursive: bool
) -> Iterator[tuple[Path, Path]]:
    """Yields each source with the directory that its place in the output is relative to."""
    for path in inputs:
        if not path.is_dir():
            yield path, path.parent
            continue
        found = _without_results(_images(path, output, recursive=recursive), suffix)
        if not found:
            raise _no_images(path, output, recursive=recursive)
        for source in found:
            yield source, path


def _images(directory: Path, output: Path | None, *, recursive: bool) -> list[Path]:
    # Compared as resolved paths: as strings `data/out` would exclude `data/outdoor` too.
    excluded = output.resolve() if output is not None else None
    if excluded == directory.resolve():
        excluded = None
    found: list[Path] = []
    for parent, directories, files in os.walk(directory):
        here = Path(parent)
        directories[:] = sorted(
            name
            for name in directories
            if recursive and not name.startswith(".") and (here / name).resolve() != excluded
        )
        found += [here / name for name in sorted(files) if _is_candidate(here / name)]
    return found


def _is_candidate(path: Path) -> bool:
    # Dot files are other programs' (and our own unfinished) files, never photographs.
    visible = not path.name.startswith(".")
    return visible and path.suffix.lower() in SUPPORTED_SUFFIXES and path.is_file()


def _without_results(found: list[Path], suffix: str) -> list[Path]:
    if not suffix:
        return found
    stems = {(path.parent, path.stem) for path in found}
    return [
        path
        for path in found
        if not path.stem.endswith(suffix)
        or (path.parent, path.stem.removesuffix(suffix)) not in stems
    ]


def _no_images(directory: Path, output: Path | None, *, recursive: bool) -> UsageError:
    if not recursive and _images(directory, output, recursive=True):
        return UsageError(
            f"{directory} has no images of its own, only in its sub-directories",
            "use -r to take those",
        )
    return UsageError(f"{directory} has no images", f"supported are {_formats()}")


def _unique(sources: Iterator[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    seen: set[Path] = set()
    for source, root in sources:
        # The same entry named twice is one job; two links to one file are two images to the user.
        entry = source.parent.resolve() / source.name
        if entry not in seen:
            seen.add(entry)
            yield source, root


def _target(
    source: Path, root: Path, output: Path | None, suffix: str, extension: str | None
) -> Path:
    if extension is None:
        known = source.suffix.lower() in SUPPORTED_SUFFIXES
        extension = source.suffix if known else ".png"
    directory = source.parent if output is None else output / source.parent.relative_to(root)
    return directory / f"{source.stem}{suffix}{extension}"


def _check_collisions(pairs: Sequence[tuple[Path, Path]]) -> None:
    writers: dict[str, Path] = {}
    for source, target in pairs:
        # As file systems that ignore case and Unicode form would compare them.
        key = unicodedata.normalize("NFC", str(target.resolve())).casefold()
        if key in writers:
            raise UsageError(
                f"{writers[key]} and {source} would both be written to {target}",
                "restore them into different directories with -o, or rename one",
            )
        writers[key] = source


def _check_not_inputs(pairs: Sequence[tuple[Path, Path]], sources: Sequence[Path]) -> None:
    # By device and inode: links and other spellings of a path are still the same file.
    owners = {_identity(source): source for source in sources}
    for _, target in pairs:
        if target.exists() and (owner := owners.get(_identity(target))) is not None:
            same = "" if owner == target else f" ({target} is the same file)"
            raise UsageError(
                f"the result would be written over the input {owner}{same}",
                "choose another -o, or a --suffix",
            )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _exists_already(target: Path) -> OutputError | None:
    if not os.path.lexists(target):
        return None
    return OutputError(
        f"{target} exists already",
        "use --overwrite to replace it, or --resume to go on with an interrupted run",
    )


def _formats() -> str:
    return ", ".join(sorted(SUPPORTED_SUFFIXES))
