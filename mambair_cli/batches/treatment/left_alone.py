"""What becomes of a file in which there is nothing to restore."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mambair_cli.batches.jobs import Job
from mambair_cli.imaging.formats import format_of, format_of_content
from mambair_cli.imaging.image import Band, BandReader
from mambair_cli.imaging.metadata.image_metadata import ContentReport, MetadataMode
from mambair_cli.imaging.writing.targets import target_file

# Values that are read at a time.
_BAND = 2**22


def may_be_copied(job: Job[Path], metadata: MetadataMode, quality: int | None) -> bool:
    """Tell whether nothing is asked for that makes another file of one with the same pixels.

    Args:
        job: Which.
        metadata: As it is to be handed on.
        quality: Of the output; None where none is asked for.
    """
    same_format = format_of_content(job.source) == format_of(job.target)
    return metadata == "keep" and quality is None and same_format


def copied(job: Job[Path], *, replaces: bool) -> ContentReport:
    """Write the input itself as the output, whole or not at all.

    Args:
        job: Which.
        replaces: Whether what is at the target may be replaced.

    Raises:
        OSError: It cannot be read or written.
        OutputError: Something that must stay is at the target.
    """
    with job.source.open("rb") as source, target_file(job.target, replaces=replaces) as copy:
        shutil.copyfileobj(source, copy)
    return ContentReport(kept=("the file, byte for byte",))


def unchanged(reader: BandReader) -> Iterator[Band]:
    """Yield an image as it is, from top to bottom."""
    rows = max(1, _BAND // (reader.header.width * reader.header.channels))
    for top in range(0, reader.header.height, rows):
        yield reader.read(top, min(top + rows, reader.header.height))
