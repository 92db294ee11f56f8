"""What the words after an option mean; what means nothing is an error, never a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import typer

Tile = int | Literal["auto"]

PIXEL_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
BYTE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Of at most as many digits as anything on a machine can have.
_WHOLE = re.compile(r"[0-9]{1,18}")
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?)([A-Z]?)")


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
    return _amount(value, PIXEL_UNITS)


def parse_bytes(value: str) -> int:
    """Read a number of bytes such as `4G`, of 1024 MiB each.

    Raises:
        BadParameter: It is no such number, or none at all.
    """
    amount = _amount(value, BYTE_UNITS)
    if amount == 0:
        raise typer.BadParameter("nothing can be done in no memory at all")
    return amount


def _amount(value: str, units: Mapping[str, int]) -> int:
    match = _AMOUNT.fullmatch(value.upper())
    if match is None or match[2] not in units:
        raise typer.BadParameter(f"{value!r} is no number, such as 900000000, 900M or 1.5G")
    return int(Decimal(match[1]) * units[match[2]])
