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
CHANGED, DROPPED, LEFT_OUT, FOLLOWED = "changed", "dropped", "left_out", "followed"
# What happens to most files and makes no difference to anybody; told with `--verbose` alone.
_ORDINARY = re.compile(
    r"orientation applied|(EXIF|XMP) size tags updated|thumbnail|description of the array's shape"
    r"|opacity channel, opaque throughout|palette converted to RGB|YCbCr converted to RGB"
    r"|premultiplied alpha made straight|\d+ bits (converted to 8|widened to 16)"
    r"|\d+-bit floating point converted to 32 bits|frames written as pages"
    r"|colour space written as a profile \([^)]*\)"
    # Values are converted where there is no place for what they mean.
    r"|colour profile \((cannot be written to JPEG XL|WebP stores gray as RGB|.* holds none)\)"
    # What they say stands in the profile, which goes before them.
    r"|colour chunks ((gAMA|cHRM|sRGB)(, )?)+ \(.* holds none\)"
    r"|written with 10 bits"
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
        kind: What programs tell notices apart by: `CHANGED` or `DROPPED` of the content of a file
            that was restored, `LEFT_OUT` of a folder, or `FOLLOWED`, a link to a folder.
        text: What, in words that are the same for all files but for numbers, and for details in
            parentheses at the end; of what is left out or followed what the files are.
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
    files: dict[Place, None] = field(default_factory=dict)

    @property
    def examples(self) -> Sequence[Place]:
        """A few of the files."""
        return list(self.files)[:EXAMPLES]

    @property
    def sentence(self) -> str:
        """One line for people."""
        several = f"{len(self.files)} files: " if len(self.files) > 1 else ""
        return f"{self.first.kind}: {self.first.text}, in {several}{self.names()}"

    def names(self, most: int = EXAMPLES) -> str:
        """Names of the first files."""
        names = [place.name for place in self.files]
        return ", ".join([*names[:most], "..."] if len(names) > most else names)


def ignore(notice: Notice) -> None:
    """Tell nobody."""


def notices_of(report: ContentReport, file: Place) -> Iterator[Notice]:
    """Tell what of a report would surprise: neither ordinary nor asked for."""
    for kind, phrases in ((CHANGED, report.changed), (DROPPED, report.dropped)):
        for phrase in phrases:
            if phrase not in report.asked and not _ORDINARY.fullmatch(phrase):
                yield Notice(kind, phrase, file, grave=_GRAVE.search(phrase) is not None)


def by_kind(notices: Iterable[Notice]) -> list[Told]:
    """Put together what says the same of several files, in the order of the first ones."""
    told: dict[tuple[str, str], Told] = {}
    for notice in notices:
        of_content = notice.kind in (CHANGED, DROPPED)
        text = _DETAILS.sub("", notice.text) if of_content else notice.text
        told.setdefault((notice.kind, text), Told(notice)).files[notice.file] = None
    return list(told.values())
