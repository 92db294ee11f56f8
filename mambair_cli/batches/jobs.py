"""Which files are restored into which; what can be refused is refused before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeGuard

from typing_extensions import TypeVar

from mambair_cli.batches import places
from mambair_cli.batches.manifest import Manifest, Shard
from mambair_cli.batches.naming import NameTemplate
from mambair_cli.batches.notices import ignore
from mambair_cli.batches.sources.folders import OnNotice
from mambair_cli.batches.sources.inputs import Input, Source, find_images, is_one_file
from mambair_cli.batches.urls import Place, Url, relative
from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES
from mambair_cli.imaging.formats import unwritable
from mambair_cli.imaging.writing.targets import exists_already

Place_co = TypeVar("Place_co", bound=Place, covariant=True, default=Place)


@dataclass(frozen=True)
class Job(Generic[Place_co]):
    """One file to restore; a `Job[Path]` has nothing to do with stores.

    Attributes:
        source: The input image.
        target: The output image; its suffix decides the format.
        record: The directory whose manifest records it; the target is in it or further down.
        refusal: Why it must not be done, None when it may: its output exists already.
        changed: What it says of the format, for people, if nobody asked for one and the source's
            cannot be written.
        replaces: Whether what is at the target when it is written may be replaced.
    """

    source: Place_co
    target: Place_co
    record: Place_co
    refusal: OutputError | None = None
    changed: str | None = None
    replaces: bool = False


def plan_jobs(
    inputs: Sequence[Input],
    *,
    output: Place | None,
    suffix: str,
    format: str | None,  # noqa: A002 - the name of the option
    recursive: bool,
    overwrite: bool,
    name: NameTemplate | None = None,
    on_notice: OnNotice = ignore,
) -> list[Job]:
    """Find the images to restore and where each result goes.

    Which images are taken is told at `find_images`; a file named outright is tried whatever its
    suffix.

    Args:
        inputs: Files, directories and patterns, from `resolve_inputs`.
        output: A file (for one input file), a directory (made if need be, directory trees are
            mirrored under it), or None for beside each input. What does not exist yet is a file if
            the input is one file, and a path has a suffix or an address that of an image.
        suffix: Added to each stem, such as `_x4`; not where `output` is a file.
        format: Suffix of the outputs, such as `png`; None for that of each input.
        recursive: Take sub-directories too.
        overwrite: Existing outputs may be replaced; else they are refused one by one.
        name: Names the outputs in place of `suffix`; its values are filled in.
        on_notice: Told what of folders is left out, and which links to folders are followed.

    Returns:
        The jobs, at least one. No target is an input, and no two targets are the same file.

    Raises:
        UsageError: A directory has no images, outputs collide with each other or with an input, a
            name is none, the output's format is not supported, or a store cannot be asked.
    """
    extension = extension_of(format)
    folder = output
    if output is not None and _names_a_file(output, inputs):
        sources = find_images(
            inputs, output=None, suffix="", recursive=recursive, on_notice=on_notice
        )
        by_source = False
        pairs = [(sources[0].path, _file_target(output, extension, name))]
        folder = output.parent
    else:
        sources = find_images(
            inputs, output=output, suffix=suffix, recursive=recursive, on_notice=on_notice
        )
        template = NameTemplate.of_suffix(suffix) if name is None else name
        by_source = extension is None and template.extension is None
        pairs = [
            (source.path, _target_of(source, output, template, extension, index))
            for index, source in enumerate(sources, start=1)
        ]
    _check_collisions(pairs)
    _check_not_inputs(pairs, [source for source, _ in pairs])
    targets = [target for _, target in pairs]
    present = set() if overwrite else places.existing(targets, folder)
    return [
        Job(
            source,
            target,
            folder or target.parent,
            exists_already(target) if target in present else None,
            unwritable(source.suffix) if by_source and target.suffix == ".png" else None,
            replaces=overwrite,
        )
        for source, target in pairs
    ]


def on_this_machine(jobs: Sequence[Job]) -> TypeGuard[Sequence[Job[Path]]]:
    """Tell whether jobs have nothing to do with stores."""
    return all(isinstance(place, Path) for job in jobs for place in (job.source, job.target))


def in_shard(jobs: Sequence[Job], shard: Shard, output: Place | None) -> list[Job]:
    """Take one part of the jobs: processes that know nothing of each other share a batch.

    Every job is in exactly one of the N parts, which are about equally large. Only the place of
    its target decides, so that files which come or go do not move others to another part.

    Args:
        jobs: Those of the whole batch, the same in all processes.
        shard: Which part, I of N, from 1.
        output: The directory of the results, which may be another for each process; None for
            beside the inputs, which have to be named the same way in all processes.
    """
    index, count = shard
    return [job for job in jobs if _part(job.target, count, output) == index]


def _part(target: Place, count: int, output: Place | None) -> int:
    place = target if output is None else relative(target, output)
    digest = hashlib.blake2b(place.as_posix().encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % count + 1


def failed_before(jobs: Sequence[Job]) -> list[Job]:
    """Take the jobs that the last run which should have done them did not.

    Raises:
        UsageError: Nothing is known of any earlier run.
    """
    records = {directory: Manifest(directory) for directory in {job.record for job in jobs}}
    if jobs and all(record.is_empty for record in records.values()):
        raise UsageError(
            f"--retry-failed: there is no record of an earlier run in {jobs[0].record}",
            "check -o/--output; --resume does whatever is not done",
        )
    return [job for job in jobs if records[job.record].has_failed(job.target)]


def extension_of(name: str | None) -> str | None:
    """Return the suffix of a format, such as `.png`; None for None.

    Raises:
        UsageError: It cannot be written.
    """
    if name is None:
        return None
    extension = "." + name.lower().removeprefix(".")
    if extension not in SUPPORTED_SUFFIXES:
        raise UsageError(f"format {name!r} cannot be written", f"choose one of: {_formats()}")
    return extension


def _names_a_file(output: Place, inputs: Sequence[Input]) -> bool:
    if places.is_folder(output):
        return False
    one_file, exists = is_one_file(inputs), places.is_file(output)
    if exists and not one_file:
        raise UsageError(
            f"{output} is a file, but more than one image may be written",
            "give -o a directory",
        )
    like_an_image = output.suffix.lower() in SUPPORTED_SUFFIXES
    if not one_file and like_an_image:
        raise UsageError(
            f"{output} names one file, but more than one image may be written",
            f"give -o a directory, for example {output.parent / output.stem}/",
        )
    # A folder of a store need not be there, and may be named `v1.2`.
    new = like_an_image if isinstance(output, Url) else output.suffix != ""
    return one_file and (exists or new)


def _file_target(output: Place, extension: str | None, name: NameTemplate | None) -> Place:
    """Return the only result, as the user named it.

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


def _target_of(
    source: Source, output: Place | None, name: NameTemplate, extension: str | None, index: int
) -> Place:
    """Name one result of several.

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
    suffix = source.path.suffix
    own = suffix if suffix.lower() in SUPPORTED_SUFFIXES and not unwritable(suffix) else ".png"
    directory = source.path.parent
    if output is not None:
        directory = output / relative(directory, source.root)
    return directory / name.name(source.path, extension or own, index)


def _check_collisions(pairs: Sequence[tuple[Place, Place]]) -> None:
    writers: dict[str, list[tuple[Place, Place]]] = {}
    locations = places.Locations()
    for source, target in pairs:
        others = writers.setdefault(locations.key(target), [])
        for other, its_target in others:
            if places.are_one(locations.of(its_target), locations.of(target)):
                raise UsageError(
                    f"{other} and {source} would both be written to {target}",
                    "restore them into different directories with -o, or rename one",
                )
        others.append((source, target))


def _check_not_inputs(pairs: Sequence[tuple[Place, Place]], sources: Sequence[Place]) -> None:
    # By device and inode: links and other spellings of a path are still the same file.
    owners = {places.identity(source): source for source in sources}
    for _, target in pairs:
        identity = places.identity(target)
        if identity is not None and (owner := owners.get(identity)) is not None:
            same = "" if owner == target else f" ({target} is the same file)"
            raise UsageError(
                f"the result would be written over the input {owner}{same}",
                "choose another -o, or a --suffix",
            )


def _formats() -> str:
    return ", ".join(sorted(SUPPORTED_SUFFIXES))
