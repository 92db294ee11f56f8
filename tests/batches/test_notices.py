"""What is told by default of the content of files, and how it is put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from mambair_cli.batches.notices import by_kind, notices_of
from mambair_cli.imaging.metadata.image_metadata import ContentReport


def told(reports):
    notices = [one for name, report in reports.items() for one in notices_of(report, Path(name))]
    return [(each.sentence, each.first.grave) for each in by_kind(notices)]


def test_one_line_for_each_kind_whatever_numbers_and_details_are():
    assert told(
        {
            "a.tif": ContentReport(
                changed=("values from -2 to 3.5 shown as 0 to 1",),
                dropped=("XMP (BMP holds none)",),
            ),
            "in/b.tif": ContentReport(
                changed=("values from 0 to 8 shown as 0 to 1",),
                dropped=("XMP (WebP holds none)",),
            ),
            "c.tif": ContentReport(dropped=("XMP", "motion video")),
        }
    ) == [
        (
            "changed: values from -2 to 3.5 shown as 0 to 1, in 2 files: a.tif, b.tif",
            True,
        ),
        ("dropped: XMP (BMP holds none), in 3 files: a.tif, b.tif, ...", False),
        ("dropped: motion video, in c.tif", True),
    ]


@pytest.mark.parametrize(
    "report",
    [
        ContentReport(kept=("EXIF", "16 bits")),
        ContentReport(changed=("orientation applied", "4 bits converted to 8")),
        ContentReport(dropped=("thumbnail",)),
        ContentReport(dropped=("GPS position",), asked=("GPS position",)),
    ],
    ids=["kept", "ordinary change", "ordinary loss", "asked for"],
)
def test_what_surprises_nobody_is_not_told(report):
    assert told({"a.jpg": report}) == []


def test_a_phrase_that_nobody_thought_of_is_told():
    assert told({"a.jpg": ContentReport(dropped=("something new",))}) == [
        ("dropped: something new, in a.jpg", False)
    ]
