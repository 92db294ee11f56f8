"""TOML tables into dataclasses, strictly: unknown keys and wrong types are errors with a hint."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from mambair_cli.errors import RecipeError

Number = int | float
T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """A value, or the range that each sample draws its value from; equal ends mean one value."""

    low: Number
    high: Number

    def draw(self, generator: np.random.Generator) -> float:
        """Draw a value, all alike."""
        return float(generator.uniform(self.low, self.high))

    def draw_log(self, generator: np.random.Generator) -> float:
        """Draw a value, all alike by their logarithm; the range is above 0."""
        return math.exp(generator.uniform(math.log(self.low), math.log(self.high)))


def build(
    cls: type[T], table: object, prefix: str = "", chosen: Mapping[str, type] | None = None
) -> T:
    """Build a dataclass from a TOML table, fields that are dataclasses from the tables in it.

    Args:
        cls: A dataclass whose fields are strings, numbers, truth values, `Literal`s, homogeneous
            tuples, `Span`s, dataclasses, one of these or None, or one of several dataclasses that
            differ in what their `kind` may be.
        table: What `tomllib` read.
        prefix: Dotted path of the table with a dot at its end, for messages.
        chosen: Which class a field has that may have one of several.

    Raises:
        RecipeError: Unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(
            f"{prefix.rstrip('.')} = {table!r} is not a table",
            f"write it as [{prefix.rstrip('.')}] with its keys below",
        )
    hints = get_type_hints(cls) | dict(chosen or {})
    for key in table:
        if key not in hints:
            raise _unknown_key(f"{prefix}{key}", key, list(hints))
    for item in fields(cls):  # type: ignore[arg-type]
        optional = item.default is not MISSING or item.default_factory is not MISSING
        if item.name not in table and not optional:
            raise RecipeError(
                f"the recipe lacks {prefix}{item.name}", "docs/training.md describes every key"
            )
    values = {key: _value(value, hints[key], f"{prefix}{key}") for key, value in table.items()}
    return cls(**values)


def _unknown_key(dotted: str, key: str, allowed: list[str]) -> RecipeError:
    close = difflib.get_close_matches(key, allowed, n=1)
    suggestion = f"did you mean {close[0]}? " if close else ""
    return RecipeError(
        f"unknown key {dotted} in the recipe", f"{suggestion}allowed here: {', '.join(allowed)}"
    )


def _value(value: object, hint: object, key: str) -> object:
    origin = get_origin(hint)
    if origin is UnionType:
        first, *others = get_args(hint)
        alone = others == [NoneType]
        return _value(value, first, key) if alone else _of_kind(value, (first, *others), key)
    if origin is Literal:
        return _choice(value, get_args(hint), key)
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{key} = {value!r} is not a list", f"write {key} = [...]")
        element = get_args(hint)[0]
        return tuple(_value(item, element, f"{key}[{i}]") for i, item in enumerate(value))
    if hint is Span:
        return _span(value, key)
    assert isinstance(hint, type)
    if is_dataclass(hint):
        return build(hint, value, f"{key}.")
    return _number(value, key) if hint is float else _scalar(value, hint, key)


def _of_kind(value: object, classes: tuple[type, ...], key: str) -> object:
    """Build the dataclass that a table names by its `kind`."""
    kinds = {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in classes}
    if not isinstance(value, Mapping) or "kind" not in value:
        raise RecipeError(
            f"{key} = {value!r} has no kind", f"write kind = one of: {', '.join(map(repr, kinds))}"
        )
    kind = _choice(value["kind"], tuple(kinds), f"{key}.kind")
    return build(kinds[kind], value, f"{key}.")


def _choice(value: object, choices: tuple[object, ...], key: str) -> object:
    if value in choices and isinstance(value, str):
        return value
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    suggestion = f"did you mean {close[0]}? " if close else ""
    allowed = ", ".join(json.dumps(choice) for choice in choices)
    raise RecipeError(f"{key} = {value!r} is not a choice", f"{suggestion}allowed: {allowed}")


def _span(value: object, key: str) -> Span:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2:
        raise RecipeError(f"{key} = {value!r} is not a range", "give one number, or [low, high]")
    low, high = (_number(end, key) for end in ends)
    if low > high:
        raise RecipeError(f"{key} = {value!r} runs backwards", "give [low, high]")
    return Span(low, high)


def _number(value: object, key: str) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{key} = {value!r} is not a number", "give a number")
    if not math.isfinite(value):
        raise RecipeError(f"{key} = {value!r} is not finite", "give a finite number")
    return value


def _scalar(value: object, kind: type, key: str) -> object:
    words = {str: "a string", bool: "true or false", int: "a whole number"}[kind]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RecipeError(f"{key} = {value!r} is not {words}", f"give {words}")
    return value
