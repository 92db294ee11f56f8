"""Figures of single pictures, kept as they come, so that a benchmark can go on where it was ended.

What other weights were behind is forgotten when rows are read. Several processes may append to one
file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mambair_cli.batches.models import LocalWeights
from mambair_cli.checkpoints.catalogue import bundled_directory


@dataclass(frozen=True)
class Row:
    """What became of one picture.

    Attributes:
        picture: Which.
        way: How its file was made.
        by: What restored it.
        gain: In dB over its file, 0 where it was left alone; None where nothing can be done.
        done: What was done, where that differs.
        weights: The sha256 of the weights behind it, by name.
    """

    picture: str
    way: str
    by: str
    gain: float | None
    done: str = ""
    weights: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What is measured once."""
        return self.picture, self.way, self.by


class Rows:
    """All rows there are.

    Args:
        file: Where they are kept; None: nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file is not None and file.is_file() else []
        now = {
            path.stem: LocalWeights(path).sha256
            for path in bundled_directory().glob("*.safetensors")
        }
        every = (Row(**json.loads(line)) for line in lines)
        self._rows = {row.key: row for row in every if row.weights.items() <= now.items()}

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        """Tell whether it was measured."""
        return key in self._rows

    def add(self, row: Row) -> None:
        """Keep one more."""
        self._rows[row.key] = row
        if self._file is not None:
            with self._file.open("a") as lines:
                lines.write(json.dumps(asdict(row)) + "\n")

    def of(self, picture: str, way: str) -> list[Row]:
        """List what became of a picture in a way."""
        return [row for row in self._rows.values() if row.key[:2] == (picture, way)]


def weights_of(rows: Iterable[Row]) -> dict[str, str]:
    """List the weights that were behind them, with their sha256."""
    return dict(sorted({item for row in rows for item in row.weights.items()}))


def shared(index: int, share: str) -> bool:
    """Tell whether the picture of a number belongs to a share of all, as 1/2."""
    part, parts = map(int, share.split("/"))
    return index % parts == part - 1
