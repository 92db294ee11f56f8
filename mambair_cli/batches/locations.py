"""Where files are, whatever the spelling of their paths."""

from __future__ import annotations

from pathlib import Path


class Locations:
    """Tells whether two paths name one entry of the file system; each folder is looked up once.

    Links to one file are two entries, and two images to the user; links to one folder, `..` and
    relative paths are spellings.
    """

    def __init__(self) -> None:
        self._resolved: dict[Path, Path] = {}

    def of(self, path: Path) -> Path:
        """The absolute path of an entry, which need not exist."""
        return self.of_folder(path.parent) / path.name

    def of_folder(self, folder: Path) -> Path:
        """The absolute path of a folder, all links followed."""
        if folder not in self._resolved:
            self._resolved[folder] = folder.resolve()
        return self._resolved[folder]
