"""What would surprise whoever is not told: put together by kind, one line for many files.

Whoever reads or writes a file says what became of it in phrases (`ContentReport`). All of them are
told by default but the ordinary ones, so that a phrase which nobody thought of here is heard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mambair_cli.batches.urls import Place
from mambair_cli.imaging.metadata.image_metadata import ContentReport

EXAMPLES = 2
# What happens to most files and makes no difference to anybody; told with `--verbose` alone.
_ORDINARY = re.compile(
    r"orientation applied|(EXIF|XMP) size tags updated|thumbnail|description of the array's shape"
    r"|opacity channel, opaque throughout|palette converted to RGB|YCbCr converted to RGB"
    r"|premultiplied alpha made straight|\d+ bits (converted to 8|widened to 16)"
    r"|\d+-bit floating point converted to 32 bits|frames written as pages"
    r"|picture for viewers without animation left out|list of the file's parts"
)
# What concerns the picture itself; said even when quiet.
_GRAVE = re.compile(
    r"\b(channels?|bands?|samples?|pages?|slices?|layers?|frames?|pictures?|images?|rows?"
    r"|video|maps?|values|read as)\b"
)
_DETAILS = re.compile(r" \([^()]*\)$|-?[\d.]+")


@dataclass(frozen=True)
class Notice:
    """Something that whoever does not expect it should know.

    Attributes:
        kind: What programs tell notices apart by: `changed`, `dropped`.
        text: What, in words that are the same for all files but for numbers, and for details in
            parentheses at the end.
        file: Which file it is about.
        grave: Whether it concerns the picture itself; it is a warning then, said even when quiet.
    """

    kind: str
    text: str
    file: Place
    grave: bool = False


@dataclass
class Told:
    """Notices of one kind that say the same.

    Attributes:
        first: One of them.
        files: What they are about, each once.
    """

    first: Notice
    files: list[Place] = field(default_factory=list)

    @property
    def examples(self) -> Sequence[Place]:
        """A few of the files."""
        return self.files[:EXAMPLES]

    @property
    def sentence(self) -> str:
        """One line for people."""
        names = ", ".join(place.name for place in self.examples)
        if len(self.files) > 1:
            names = f"{len(self.files)} files: {names}"
        more = ", ..." if len(self.files) > EXAMPLES else ""
        return f"{self.first.kind}: {self.first.text}, in {names}{more}"


def notices_of(report: ContentReport, file: Place) -> Iterator[Notice]:
    """Tell what of a report would surprise: neither ordinary nor asked for."""
    for kind, phrases in (("changed", report.changed), ("dropped", report.dropped)):
        for phrase in phrases:
            if phrase not in report.asked and not _ORDINARY.fullmatch(phrase):
                yield Notice(kind, phrase, file, grave=_GRAVE.search(phrase) is not None)


def by_kind(notices: Iterable[Notice]) -> list[Told]:
    """Put together what says the same of several files, in the order of the first ones."""
    told: dict[tuple[str, str], Told] = {}
    for notice in notices:
        key = notice.kind, _DETAILS.sub("", notice.text)
        files = told.setdefault(key, Told(notice)).files
        if notice.file not in files[-1:]:
            files.append(notice.file)
    return list(told.values())
