"""JSON that every reader takes."""

import json
import math
import re
from pathlib import Path

import mambair_cli
from mambair_cli.plain_json import finite, to_json


def test_what_json_cannot_hold_is_null():
    value = {"psnr": math.inf, "rows": [(1.5, -math.inf), {"loss": math.nan}], "n": 3, "on": True}
    text = to_json(value)
    assert json.loads(text) == {
        "psnr": None,
        "rows": [[1.5, None], {"loss": None}],
        "n": 3,
        "on": True,
    }
    assert finite("inf") == "inf"


def test_whatever_is_written_as_json_is_written_here():
    package = Path(mambair_cli.__file__).parent
    values = {"parsing.py", "recipe_text.py", "plain_json.py"}  # single values, in words for people
    writers = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text("utf-8")) and path.name not in values
    ]
    assert writers == []
