"""Which files are restored into which; what can be refused is refused before any work."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mambair_cli.batches.inputs import Pattern, Source, find_images
from mambair_cli.batches.locations import Locations
from mambair_cli.batches.naming import NameTemplate
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
    inputs: Sequence[Path | Pattern],
    *,
    output: Path | None,
    suffix: str,
    format: str | None,  # noqa: A002 - the name of the option
    recursive: bool,
    overwrite: bool,
    name: NameTemplate | None = None,
) -> list[Job]:
    """Finds the images to restore and where each result goes.

    Which images are taken is told at `find_images`; a file named outright is tried whatever its
    suffix.

    Args:
        inputs: Files, directories and patterns, from `resolve_inputs`.
        output: A file (for one input file), a directory (made if need be, directory trees are
            mirrored under it), or None for beside each input. A path that does not exist yet is a
            file if the input is one file and the path has a suffix.
        suffix: Added to each stem, such as `_x4`; not where `output` is a file.
        format: Suffix of the outputs, such as `png`; None for that of each input.
        recursive: Take sub-directories too.
        overwrite: Existing outputs may be replaced; else they are refused one by one.
        name: Names the outputs in place of `suffix`; its values are filled in.

    Returns:
        The jobs, at least one. No target is an input, and no two targets are the same file.

    Raises:
        UsageError: A directory has no images, outputs collide with each other or with an input, a
            name is none, or the output's format is not supported.
    """
    extension = extension_of(format)
    if output is not None and _names_a_file(output, inputs):
        sources = find_images(inputs, output=None, suffix="", recursive=recursive)
        pairs = [(sources[0].path, file_target(output, extension, name))]
        output = output.parent
    else:
        sources = find_images(inputs, output=output, suffix=suffix, recursive=recursive)
        template = NameTemplate.of_suffix(suffix) if name is None else name
        pairs = [
            (source.path, target_of(source, output, template, extension, index))
            for index, source in enumerate(sources, start=1)
        ]
    _check_collisions(pairs)
    _check_not_inputs(pairs, [source for source, _ in pairs])
    return [
        Job(source, target, output or target.parent, None if overwrite else _exists_already(target))
        for source, target in pairs
    ]


def extension_of(name: str | None) -> str | None:
    """The suffix of a format, such as `.png`; None for None.

    Raises:
        UsageError: It cannot be written.
    """
    if name is None:
        return None
    extension = "." + name.lower().removeprefix(".")
    if extension not in SUPPORTED_SUFFIXES:
        raise UsageError(f"format {name!r} cannot be written", f"choose one of: {_formats()}")
    return extension


def _names_a_file(output: Path, inputs: Sequence[Path | Pattern]) -> bool:
    # The functions of os.path answer where those of Path raise: a name too long, no permission.
    if os.path.isdir(output):  # noqa: PTH112
        return False
    one_file = len(inputs) == 1 and isinstance(inputs[0], Path) and not inputs[0].is_dir()
    exists = os.path.exists(output)  # noqa: PTH110
    if exists and not one_file:
        raise UsageError(
            f"{output} is a file, but more than one image may be written",
            "give -o a directory",
        )
    if not one_file and output.suffix.lower() in SUPPORTED_SUFFIXES:
        raise UsageError(
            f"{output} names one file, but more than one image may be written",
            f"give -o a directory, for example {output.with_suffix('')}/",
        )
    return one_file and (exists or output.suffix != "")


def file_target(output: Path, extension: str | None, name: NameTemplate | None) -> Path:
    """The only result, as the user named it.

    Raises:
        UsageError: It is no image file, or is named otherwise too.
    """
    if name is not None:
        raise UsageError(
            f"--name {name.text!r} and -o {output} both name the result",
            f"leave out one; if {output} is meant as a directory, create it first",
        )
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


def target_of(
    source: Source, output: Path | None, name: NameTemplate, extension: str | None, index: int
) -> Path:
    """One result of several.

    Args:
        source: The input and what it is relative to.
        output: The directory of the results; None for beside each input.
        name: What they are called.
        extension: Their suffix, None for that of each input.
        index: Number of the input, from 1.

    Raises:
        UsageError: The name is none.
    """
    if None not in (extension, name.extension) and extension != name.extension:
        raise UsageError(
            f"--name {name.text!r} does not end in the requested format {extension}",
            "leave out --format, or end the name with .{ext}",
        )
    known = source.path.suffix.lower() in SUPPORTED_SUFFIXES
    own = source.path.suffix if known else ".png"
    directory = source.path.parent
    if output is not None:
        directory = output / directory.relative_to(source.root)
    return directory / name.name(source.path, extension or own, index)


def _check_collisions(pairs: Sequence[tuple[Path, Path]]) -> None:
    writers: dict[str, Path] = {}
    locations = Locations()
    for source, target in pairs:
        # As file systems that ignore case and Unicode form would compare them.
        key = unicodedata.normalize("NFC", str(locations.of(target))).casefold()
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
        identity = _identity(target)
        if identity is not None and (owner := owners.get(identity)) is not None:
            same = "" if owner == target else f" ({target} is the same file)"
            raise UsageError(
                f"the result would be written over the input {owner}{same}",
                "choose another -o, or a --suffix",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # it is not there, or its name is too long: reading or writing it will tell
        return None
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
