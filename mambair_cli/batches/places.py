"""Where files are: what folders of this machine and object stores tell in different ways."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Collection, Hashable
from pathlib import Path

from mambair_cli.batches import stores
from mambair_cli.batches.naming import OWN_PREFIX
from mambair_cli.batches.urls import Place, Url
from mambair_cli.errors import OutputError


class Locations:
    """Tells whether two names mean one entry of a folder; each folder is looked up once.

    Links to one file are two entries, and two images to the user; links to one folder, `..` and
    relative paths are spellings, and so are `s3:` and `s3a:`.
    """

    def __init__(self) -> None:
        self._resolved: dict[Place, Place] = {}

    def of(self, place: Place) -> Place:
        """Return the absolute path of an entry, which need not exist."""
        if isinstance(place, Url):
            return place.resolve()
        return self.of_folder(place.parent) / place.name

    def of_folder(self, folder: Place) -> Place:
        """Return the absolute path of a folder, all links followed."""
        if folder not in self._resolved:
            self._resolved[folder] = resolved(folder)
        return self._resolved[folder]

    def key(self, place: Place) -> str:
        """Return a text that is the same for names which are one file on some file systems."""
        text = str(self.of(place))
        if isinstance(place, Url) and place.is_in_object_store:
            return text
        # As file systems that ignore case and Unicode form would compare them.
        return unicodedata.normalize("NFC", text).casefold()


# The functions of os.path answer where those of Path raise: a name too long, no permission.


def is_folder(place: Place) -> bool:
    """Tell whether a folder is there; in a store, whether there is anything below that name."""
    return stores.is_directory(place) if isinstance(place, Url) else os.path.isdir(place)  # noqa: PTH112


def is_file(place: Place) -> bool:
    """Tell whether something is there that is no folder."""
    if isinstance(place, Url):
        return stores.is_file(place)
    return os.path.exists(place) and not os.path.isdir(place)  # noqa: PTH110, PTH112


def contains(folder: Place, place: Place) -> bool:
    """Tell whether one place is below another, whatever their spelling."""
    return resolved(folder) in resolved(place).parents


def resolved(place: Place) -> Place:
    """Return the one spelling of a place; a link that points at itself is where it ends."""
    # Path.resolve raises there, and not the same in all releases of Python.
    return place.resolve() if isinstance(place, Url) else Path(os.path.realpath(place))


def identity(place: Place) -> Hashable:
    """Return what is the same for all names of a file, links among them; None if there is none."""
    if isinstance(place, Url):
        return place.resolve()
    try:
        status = place.stat()
    except OSError:  # it is not there, or its name is too long: reading or writing it will tell
        return None
    return status.st_dev, status.st_ino


def existing(places: Collection[Place], folder: Place | None) -> set[Place]:
    """Find out which of several results are there already.

    Args:
        places: The results.
        folder: What all of them are below, if it is one; a store is asked once for all then, and
            else once for each folder.
    """
    # Path.exists would miss links that lead nowhere.
    found: set[Place] = {
        place for place in places if isinstance(place, Path) and os.path.lexists(place)
    }
    there = {place for place in places if isinstance(place, Url)}
    if len(there) == 1:
        return found | {place for place in there if stores.is_file(place)}
    folders = {place.parent for place in there} if folder is None else {folder}
    for each in folders:
        if there and isinstance(each, Url):
            found |= there.intersection(stores.below(each, recursive=folder is not None))
    return found


def are_one(one: Place, other: Place) -> bool:
    """Ask the file system whether two absolute paths that `Locations.key` takes for one are one.

    They differ in case or in the form of letters at most. Nothing of what they name need exist; a
    place that cannot be asked counts as one that tells no such names apart.
    """
    if isinstance(one, Url) or isinstance(other, Url) or one == other:
        return True
    pairs = zip(one.parts, other.parts, strict=True)
    for depth, (name, alike) in enumerate(pairs):
        if name != alike and not _is_one_entry(Path(*one.parts[:depth]), name, alike):
            return False
    return True


def nearest_directory(path: Path) -> Path:
    """Return the directory itself, or the existing one that it would be made under."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if is_folder(place))


def check_directory(directory: Path) -> None:
    """Find out before the work whether a folder of results can be written to, or made.

    Raises:
        OutputError: It cannot.
    """
    if not os.access(nearest_directory(directory), os.W_OK | os.X_OK):
        raise OutputError(f"{directory} cannot be written to", "choose another directory with -o")


def make_directory(directory: Path) -> None:
    """Make a folder of results, unless it is there.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory} cannot be made: {error.strerror}", "choose another directory with -o"
        ) from error


def _is_one_entry(folder: Path, name: str, alike: str) -> bool:
    """Whether two names mean one entry of a folder, tried out where it is or would be made."""
    there = nearest_directory(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=OWN_PREFIX, dir=there) as trial:
            Path(trial, name).touch()
            return Path(trial, alike).exists()
    except OSError:
        return True
