"""Where the images of a benchmark set come from: a folder of the user's, or the Hub."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mambair_cli.checkpoints import cache
from mambair_cli.checkpoints.hub.address import require_address
from mambair_cli.checkpoints.reference import HubReference, page
from mambair_cli.errors import CheckpointError, OutputError, UsageError
from mambair_cli.evaluation.datasets import Dataset, find_dataset
from mambair_cli.evaluation.layouts import REFERENCES as REFERENCE_FOLDERS
from mambair_cli.evaluation.layouts import images_in
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES

if TYPE_CHECKING:
    from mambair_cli.checkpoints.reference import Listener

# Of folders with as many images as the set has, the one that holds the references.
REFERENCES = ("hr", "original_png", "original", "gt")


def datasets_in(names: Sequence[str], data: Path | None) -> list[Dataset]:
    """Look sets up by their names; a folder of the user's that is named is one too.

    Args:
        names: Of sets, or of folders in `data`; none for `data` itself.
        data: A folder of the user's.

    Returns:
        The sets, at least one.

    Raises:
        UsageError: There is no such set, or the folder holds no images.
    """
    if names:
        return [_dataset(name, data) for name in names]
    assert data is not None
    found = _dataset(data.resolve().name, data.resolve().parent)
    if found.own and not _holds_images(data):
        raise UsageError(
            f"no data set was named, and {data} itself holds no images",
            "name a set inside it, such as --dataset Set5, or give the folder of images",
        )
    return [found]


def _dataset(name: str, above: Path | None) -> Dataset:
    try:
        return find_dataset(name)
    except UsageError:
        if above is None or not (above / name).is_dir():
            raise
        return Dataset.of_user(name)


def _holds_images(folder: Path) -> bool:
    references = [path for path in folder.iterdir() if REFERENCE_FOLDERS.fullmatch(path.name)]
    return any(images_in(each) for each in [folder, *references] if each.is_dir())


def locate(dataset: Dataset, data: Path | None = None, listener: Listener | None = None) -> Path:
    """Find the folder of a set.

    Args:
        dataset: The set.
        data: A folder of the user's: that of the set, or one that has it inside. None for what was
            fetched before, or is fetched now.
        listener: Is told of a download.

    Returns:
        Its folder.

    Raises:
        UsageError: The user's folder does not have it, or it cannot be fetched from anywhere.
        CheckpointError: The Hub cannot be reached, or its file is not what it should be.
        OutputError: What was fetched cannot be kept.
    """
    if data is not None:
        return _inside(dataset, data)
    kept = cache.home() / "datasets" / dataset.name
    if not kept.is_dir():
        _fetch(dataset, kept, listener)
    return kept


def _inside(dataset: Dataset, data: Path) -> Path:
    if not data.is_dir():
        raise UsageError(f"{data} is no folder", "give --data the folder that has the set")
    names = {name.lower() for name in (dataset.name, *dataset.aliases)}
    found = sorted(path for path in data.iterdir() if path.is_dir() and path.name.lower() in names)
    if len(found) > 1:
        listed = " and ".join(str(path) for path in found)
        raise UsageError(f"{dataset.name} may be {listed}", "give --data the one that is meant")
    return found[0] if found else data


def _fetch(dataset: Dataset, folder: Path, listener: Listener | None) -> None:
    require_address()
    from mambair_cli.checkpoints.hub import repository as hub

    if dataset.repo is None or dataset.archive is None:
        raise UsageError(
            f"{dataset.name} is not on this machine, and no repository is known that has it",
            f"put its images into a folder {dataset.name} and name the folder above it: --data DIR",
        )
    reference = HubReference(dataset.repo, dataset.archive, kind="dataset")
    try:
        file = hub.look_up(reference, listener)
        archive = None if file is None else hub.download(file, listener)
    except CheckpointError as error:
        raise CheckpointError(
            f"{dataset.name} is not on this machine and cannot be fetched: {error.message}",
            f"connect this machine once, or put the images of {page(dataset.repo, 'dataset')} "
            f"into a folder {dataset.name} and name the folder above it: --data DIR",
        ) from error
    if archive is None:
        raise CheckpointError(
            f"{dataset.repo} has no {dataset.archive} any more",
            f"see what it has at {page(dataset.repo, 'dataset')}, and name a folder with --data",
        )
    _unpack(dataset, archive, folder)


def _unpack(dataset: Dataset, archive: Path, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
            with tarfile.open(archive) as packed:
                # Of members: no absolute paths, no way out of the folder, no devices.
                packed.extractall(scratch, filter="data")
            whole = Path(scratch) / "whole"
            shutil.move(_references(dataset, Path(scratch)), whole / "HR")
            whole.replace(folder)
    except (tarfile.TarError, EOFError) as error:
        raise CheckpointError(
            f"the archive of {dataset.name}, {archive}, is damaged: {error}",
            "delete it and try again",
        ) from error
    except OSError as error:
        raise OutputError(
            f"{dataset.name} cannot be kept in {folder}: {error.strerror or error}",
            f"make room there, or set {cache.HOME} to another folder",
        ) from error


def _references(dataset: Dataset, unpacked: Path) -> Path:
    """Find the folder of an archive that holds the set's references."""
    images: dict[Path, int] = defaultdict(int)
    for path in unpacked.rglob("*"):
        if path.suffix.lower() in SUPPORTED_SUFFIXES and not path.name.startswith("."):
            images[path.parent] += 1
    complete = [folder for folder, count in images.items() if count == dataset.images]
    named = [folder for name in REFERENCES for folder in complete if folder.name.lower() == name]
    if named or len(complete) == 1:
        return (named or complete)[0]
    listed = ", ".join(f"{f.relative_to(unpacked)} ({n} images)" for f, n in images.items())
    raise CheckpointError(
        f"of the folders in the archive of {dataset.name} none is the one with its "
        f"{dataset.images} images: {listed or 'there are none'}",
        "fetch the set by hand and give its folder with --data",
    )
