"""The benchmark sets: what they are and what they measure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Self

from mambair_cli.errors import UsageError
from mambair_cli.networks.spec import Task
from mambair_cli.pixels.resize import Border

TASKS: tuple[Task, ...] = ("sr", "realsr", "denoise", "denoise-real", "dejpeg")
SUPER_RESOLUTION: tuple[Task, ...] = ("sr", "realsr")


@dataclass(frozen=True)
class Dataset:
    """One benchmark set.

    Attributes:
        name: As the paper calls it.
        tasks: What it measures.
        images: How many it has.
        border: Edge rule of the low-resolution images that are made from it.
        repo: Data set repository on the Hugging Face Hub that has it, or None.
        archive: Path of the archive in that repository.
        aliases: Other names that its folder goes by.
        megapixels: Of all references as they were published, where that is known.
        own: Whether it is a folder of the user's, of which nobody published anything.
    """

    name: str
    tasks: tuple[Task, ...]
    images: int
    border: Border = "symmetric"
    repo: str | None = None
    archive: str | None = None
    aliases: tuple[str, ...] = ()
    megapixels: float | None = None
    own: bool = False

    @classmethod
    def of_user(cls, name: str) -> Self:
        """Describe a folder of the user's, which measures whatever it is asked for."""
        return cls(name, TASKS, images=0, own=True)


DATASETS = (
    Dataset(
        "Set5",
        SUPER_RESOLUTION,
        5,
        repo="eugenesiow/Set5",
        archive="data/Set5_HR.tar.gz",
        megapixels=0.567456,
    ),
    Dataset(
        "Set14",
        SUPER_RESOLUTION,
        14,
        repo="eugenesiow/Set14",
        archive="data/Set14_HR.tar.gz",
        megapixels=3.22284,
    ),
    Dataset(
        "B100",
        SUPER_RESOLUTION,
        100,
        repo="eugenesiow/BSD100",
        archive="data/BSD100_HR.tar.gz",
        aliases=("BSD100", "BSDS100"),
        megapixels=15.4401,
    ),
    Dataset(
        "Urban100",
        (*SUPER_RESOLUTION, "denoise"),
        100,
        repo="eugenesiow/Urban100",
        archive="data/Urban100_HR.tar.gz",
    ),
    Dataset("Manga109", SUPER_RESOLUTION, 109),
    Dataset(
        "CBSD68",
        ("denoise",),
        68,
        repo="deepinv/CBSD68",
        archive="CBSD68.tar.gz",
        megapixels=10.499268,
    ),
    Dataset("Kodak24", ("denoise",), 24, megapixels=6.0),
    Dataset("McMaster", ("denoise",), 18, aliases=("McM",), megapixels=4.5),
    Dataset("classic5", ("dejpeg",), 5, megapixels=1.31072),
    Dataset("LIVE1", ("dejpeg",), 29),
    Dataset("SIDD", ("denoise-real",), 1280, aliases=("SIDD_Validation",)),
)


def find_dataset(name: str) -> Dataset:
    """Look a set up by its name, whatever the case, or by another name that it goes by.

    Raises:
        UsageError: There is no such set; the hint names the closest ones, or all.
    """
    by_name = {
        spelling.lower(): dataset
        for dataset in DATASETS
        for spelling in (dataset.name, *dataset.aliases)
    }
    if name.lower() in by_name:
        return by_name[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_name, n=3)
    listed = [by_name[key].name for key in close] or [dataset.name for dataset in DATASETS]
    raise UsageError(f"unknown data set {name!r}", f"choose one of: {', '.join(listed)}")
