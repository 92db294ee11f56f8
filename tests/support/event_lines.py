"""Reads what `--json` printed, every line held against `docs/events.schema.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "events.schema.json").read_text())
EVENTS = frozenset(SCHEMA["properties"]["event"]["enum"])
_VALIDATOR = Draft202012Validator(SCHEMA)


def read_events(text: str) -> list[dict[str, Any]]:
    """The events of some lines.

    Raises:
        jsonschema.ValidationError: One is not as the schema says.
    """
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        _VALIDATOR.validate(event)
    return events
