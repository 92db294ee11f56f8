"""What the words after an option mean; what means nothing is an error, never a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import typer

Tile = int | Literal["auto"]

PIXEL_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
BYTE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Of at most as many digits as anything on a machine can have.
_WHOLE = re.compile(r"[0-9]{1,18}")
_SIDE = re.compile(r"0*[1-9][0-9]{0,8}")
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)([A-Z]?)")


# How Pydantic, by which Typer reads values, gives its reasons, and what people are told.
_REASONS = {
    "Value error, ": "",
    "Input should be greater than or equal to ": "it has to be at least ",
    "Input should be less than or equal to ": "it has to be at most ",
    "Input should be a valid number": "it is no number",
    "Input should be a valid integer": "it is no whole number",
    ", unable to parse string as a number": "",
    ", unable to parse string as an integer": "",
}


def reason_in(message: str) -> str:
    """Return what Typer says of a value, in our words."""
    for reason, words in _REASONS.items():
        message = message.replace(reason, words)
    return message.rstrip(".")


def parse_tile(value: str) -> Tile:
    """`auto`, or pixels.

    Raises:
        BadParameter: Neither.
    """
    if value == "auto":
        return "auto"
    if _WHOLE.fullmatch(value):
        return int(value)
    raise typer.BadParameter(f"{value!r} is neither auto nor a number of pixels (0 = whole image)")


def parse_shard(value: str) -> tuple[int, int]:
    """`I/N` as I and N, with I from 1 to N.

    Raises:
        BadParameter: It is no such part.
    """
    index, _, count = value.partition("/")
    is_part = _WHOLE.fullmatch(index) and _WHOLE.fullmatch(count)
    if is_part and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise typer.BadParameter(f"{value!r} is no part of a whole, such as 2/5")


def parse_pixels(value: str) -> int:
    """Read a number of pixels such as `900000000`, `900M` or `1.5G`; 0 is any number.

    Raises:
        BadParameter: It is no such number.
    """
    amount = _amount(value, PIXEL_UNITS)
    if amount == 0 and re.search("[1-9]", value):
        raise typer.BadParameter(f"{value!r} is less than one pixel (0 = no limit)")
    return amount


def parse_bytes(value: str) -> int:
    """Read a number of bytes such as `4G`, of 1024 MiB each.

    Raises:
        BadParameter: It is no such number, or none at all.
    """
    amount = _amount(value, BYTE_UNITS)
    if amount == 0:
        raise typer.BadParameter("nothing can be done in no memory at all")
    return amount


def parse_factor(value: str) -> Fraction:
    """Read by how much a side grows, such as `2` or `1.5`.

    Raises:
        BadParameter: It is no such number, or does not enlarge.
    """
    match = _AMOUNT.fullmatch(value)
    if match is None or match[2] or Fraction(match[1]) <= 1:
        raise typer.BadParameter(f"{value!r} is no number above 1, such as 2 or 1.5")
    return Fraction(match[1])


def parse_side(value: str) -> int:
    """Read a number of pixels of one side, such as `4000`.

    Raises:
        BadParameter: It is no such number.
    """
    if not _SIDE.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is no number of pixels, such as 4000")
    return int(value)


def parse_box(value: str) -> tuple[int, int]:
    """Read a width and a height, such as `3840x2160`.

    Raises:
        BadParameter: They are none.
    """
    width, _, height = value.lower().partition("x")
    if not (_SIDE.fullmatch(width) and _SIDE.fullmatch(height)):
        raise typer.BadParameter(f"{value!r} is no width and height, such as 3840x2160")
    return int(width), int(height)


def parse_megapixels(value: str) -> int:
    """Read millions of pixels, such as `12`, `2.5` or `2MP`.

    Raises:
        BadParameter: It is no such number, or nothing at all.
    """
    match = _AMOUNT.fullmatch(value.upper().removesuffix("MP"))
    pixels = int(Fraction(match[1]) * 10**6) if match and not match[2] else 0
    if pixels == 0:
        raise typer.BadParameter(f"{value!r} is no number of megapixels, such as 12 or 2MP")
    return pixels


def _amount(value: str, units: Mapping[str, int]) -> int:
    match = _AMOUNT.fullmatch(value.upper())
    if match is None or match[2] not in units:
        raise typer.BadParameter(f"{value!r} is no number, such as 900000000, 900M or 1.5G")
    return int(Decimal(match[1]) * units[match[2]])
