"""IPTC records and Photoshop resources, built byte by byte."""

import metadata_blocks as blocks
import pytest
from metadata_blocks import record, resource

from mambair_cli.imaging.metadata.iptc import (
    IPTC_RESOURCE,
    dropped_resources,
    photoshop_resources,
    photoshop_segments,
    private_iptc,
    read_photoshop_resources,
    without_previews,
)

TITLE = record(2, 105, b"A headline")


def test_resources_are_read_with_and_without_names():
    block = (
        resource(0x03ED, b"odd")
        + resource(0x0404, b"even", name=b"\x03abc")
        + resource(0x0404, b"a second one")
        + resource(0x0409, b"", name=b"\x02ab\0")
    )
    found = read_photoshop_resources(block)
    assert found == {0x03ED: b"odd", 0x0404: b"even", 0x0409: b""}
    assert dropped_resources(found) == ["thumbnail", "Photoshop resources"]
    assert dropped_resources({IPTC_RESOURCE: b"x"}) == []


def test_every_truncation_of_resources_gives_those_that_are_whole():
    block = resource(0x0404, b"first") + resource(0x0405, b"second")
    for length in range(len(block)):
        found = read_photoshop_resources(block[:length])
        assert found in ({}, {0x0404: b"first"}, {0x0404: b"first", 0x0405: b"second"})


@pytest.mark.parametrize("size", [1, 2, 65499, 65500, 200001])
def test_records_of_any_size_go_into_segments_and_come_back(size):
    segments = photoshop_segments(bytes(size))
    assert all(len(segment) <= 65533 for segment in segments)
    block = b"".join(segment.removeprefix(b"Photoshop 3.0\0") for segment in segments)
    assert read_photoshop_resources(block) == {IPTC_RESOURCE: bytes(size)}
    assert block == photoshop_resources({IPTC_RESOURCE: bytes(size)})


@pytest.mark.parametrize(
    ("secret", "phrase"),
    [
        (record(2, 26, b"s"), "IPTC place"),
        (record(2, 27, b"s"), "IPTC place"),
        (record(2, 90, b"s"), "IPTC place"),
        (record(2, 92, b"s"), "IPTC place"),
        (record(2, 95, b"s"), "IPTC place"),
        (record(2, 100, b"DEU"), "IPTC place"),
        (record(2, 101, b"s"), "IPTC place"),
        (record(1, 100, b"s"), "document identifiers"),
        (record(2, 187, b"s"), "document identifiers"),
    ],
)
def test_private_takes_places_and_identifiers_out(secret, phrase):
    assert private_iptc(TITLE + secret + TITLE) == (TITLE + TITLE, (phrase,))
    assert private_iptc(secret) == (None, (phrase,))


def test_names_of_authors_and_their_copyright_stay():
    kept = record(2, 80, b"An Artist") + record(2, 116, b"A Copyright") + TITLE
    assert private_iptc(kept) == (kept, ())


def test_a_long_value_has_a_length_of_its_own():
    long = b"\x1c\x02\x78\x80\x04" + (70000).to_bytes(4, "big") + bytes(70000)
    assert private_iptc(long + record(2, 90, b"s") + TITLE) == (long + TITLE, ("IPTC place",))


def test_previews_are_dropped_and_padding_is_not_damage():
    preview = record(2, 202, b"a small JPEG")
    assert without_previews(TITLE + preview) == (TITLE, ("thumbnail",))
    assert without_previews(TITLE + b"\0\0") == (TITLE + b"\0\0", ())
    assert without_previews(blocks.IPTC) == (blocks.IPTC, ())


def test_what_cannot_be_judged_is_dropped_in_private_only():
    damaged = TITLE + b"a secret behind the records"
    assert without_previews(damaged) == (damaged, ())
    assert private_iptc(damaged) == (TITLE, ("IPTC (damaged)",))
    assert private_iptc(b"nothing of the kind") == (None, ("IPTC (damaged)",))
