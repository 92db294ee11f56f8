"""Recipes as text: TOML with every default, and values by their dotted keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from mambair_cli.training.config import Recipe


def format_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML with every default spelled out; `parse_recipe` reads it back equal."""
    lines: list[str] = []
    for table, values in asdict(recipe).items():
        lines.append(f"[{table}]")
        lines += _assignments(values)
        lines.append("")
    return "\n".join(lines)


def flatten(recipe: Recipe) -> dict[str, object]:
    """List every value of a recipe by its dotted key, such as `optim.loss`."""
    return {
        f"{table}.{key}": value
        for table, values in asdict(recipe).items()
        for key, value in values.items()
    }


def _assignments(values: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, dict) and "kind" in value:
        return f"{{ {', '.join(_assignments(value))} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return _toml(value["low"] if value["low"] == value["high"] else [*value.values()])
    # JSON's spelling of strings, numbers and booleans is valid TOML.
    return json.dumps(value)
