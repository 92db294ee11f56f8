"""JSON as its standard has it: what is infinite, or no number, is null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def finite(value: object) -> object:
    """Replace what JSON cannot hold, at any depth: the PSNR of a perfect image, a loss that burst.

    Args:
        value: Dictionaries, lists, tuples, text, numbers, truth values and None.

    Returns:
        The same with None in place of what is infinite or no number.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def to_json(value: object, indent: int | None = None) -> str:
    """Write a value as JSON that every reader takes; `finite` says what becomes null."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)
