"""Names of results: what a template such as `{stem}_{model}_x{scale}.{ext}` makes of a source."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mambair_cli.batches.urls import Place
from mambair_cli.errors import UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES

OF_THE_FILE = ("stem", "name", "parent", "index", "ext")
OF_THE_RUN = ("task", "model", "scale", "sigma", "quality")
FIELDS = (*OF_THE_FILE, *OF_THE_RUN)
_WIDTH = re.compile(r"0([1-9])d?")
OWN_PREFIX = ".mambair-"


@dataclass(frozen=True)
class NameTemplate:
    """A parsed template.

    Attributes:
        text: What the user typed.
        pieces: Literal text, with the name of the field after it (empty for none) and the digits
            that it is filled up to.
        values: Of the fields that are the same for all files.
    """

    text: str
    pieces: tuple[tuple[str, str, int], ...]
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template.

        Args:
            text: Fields in braces; `{index:04}` is filled up with zeros; `{{` is a brace.

        Raises:
            UsageError: It is malformed, has a field that is not in `FIELDS`, or names no extension
                of an image.
        """
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise UsageError(f"--name {text!r}: {error}", _HINT) from error
        pieces = tuple(
            (literal, name or "", _digits(text, name, spec, conversion))
            for literal, name, spec, conversion in parsed
        )
        template = cls(text, pieces)
        template._check_extension()
        return template

    @classmethod
    def of_suffix(cls, suffix: str) -> Self:
        """Make the template of a suffix: its names are `{stem}`, the suffix, `.{ext}`."""
        return cls(f"--suffix {suffix}", (("", "stem", 0), (f"{suffix}.", "ext", 0)))

    @property
    def fields(self) -> frozenset[str]:
        """Names of the fields."""
        return frozenset(name for _, name, _ in self.pieces if name)

    @property
    def extension(self) -> str | None:
        """The extension that it spells out, such as `.png`; None where it has `{ext}`."""
        literal, name, _ = self.pieces[-1]
        return None if name else Path("_" + literal).suffix.lower()

    def with_values(self, values: Mapping[str, object]) -> Self:
        """Fill in what is the same for all files.

        Args:
            values: Of the fields in `OF_THE_RUN`; None for one that this run does not have.

        Raises:
            UsageError: The template has a field that is None.
        """
        for name in sorted(self.fields & set(OF_THE_RUN)):
            if values.get(name) is None:
                known = ", ".join(f"{{{each}}}" for each in FIELDS if values.get(each) is not None)
                raise UsageError(
                    f"--name {self.text!r}: {{{name}}} is not the same for the whole run, or has "
                    "no meaning in it",
                    f"beside those of the file there are {known}",
                )
        filled = {name: f"{value}" for name, value in values.items() if value is not None}
        return type(self)(self.text, self.pieces, filled)

    def name(self, source: Place, extension: str, index: int) -> str:
        """Name a result.

        Args:
            source: The input image.
            extension: Of the result, such as `.png`.
            index: Its number in the batch, from 1.

        Raises:
            UsageError: That would be no plain file name, or one of our own files.
        """
        values = {
            **self.values,
            "stem": source.stem,
            "name": source.name,
            "index": str(index),
            "ext": extension.removeprefix("."),
        }
        if "parent" in self.fields:
            values["parent"] = source.parent.resolve().name
        name = "".join(
            literal + (values[field].zfill(digits) if field else "")
            for literal, field, digits in self.pieces
        )
        plain = Path(name).suffix != "" and not {os.sep, os.altsep, "\0"} & set(name)
        if not plain or name.startswith(OWN_PREFIX):
            raise UsageError(
                f"{source} cannot be written as {name!r}, which is no file name of an image",
                "folders come from -o and from the tree of the inputs; see --name and --suffix",
            )
        return name

    def _check_extension(self) -> None:
        literal, name, _ = self.pieces[-1] if self.pieces else ("", "", 0)
        if name == "ext" and literal.endswith("."):
            return
        if name or Path("_" + literal).suffix.lower() not in SUPPORTED_SUFFIXES:
            raise UsageError(
                f"--name {self.text!r} does not end with the extension of an image",
                "end it with .{ext}, or with one of " + ", ".join(sorted(SUPPORTED_SUFFIXES)),
            )


def _digits(text: str, name: str | None, spec: str | None, conversion: str | None) -> int:
    if name is None:
        return 0
    if name not in FIELDS:
        raise UsageError(f"--name {text!r}: there is no {{{name}}}", _HINT)
    width = _WIDTH.fullmatch(spec or "")
    if name == "index" and width and conversion is None:
        return int(width[1])
    if spec or conversion:
        raise UsageError(
            f"--name {text!r}: {{{name}}} stands alone, without ! and :",
            "only the index may be filled up with zeros: {index:04}",
        )
    return 0


_HINT = "the fields are " + ", ".join(f"{{{name}}}" for name in FIELDS) + "; {{ is a brace"
