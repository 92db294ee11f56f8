"""The options that say how large results become, declared once for all commands that enlarge."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from mambair_cli.cli.option_values import parse_box, parse_factor, parse_megapixels, parse_side
from mambair_cli.errors import UsageError
from mambair_cli.restoration.sizing import Sizing


@dataclass(frozen=True)
class SizeSettings:
    """What every enlarging command takes; `takes_settings` turns each field into a parameter."""

    scale: Annotated[
        Any,
        typer.Option(
            "--scale",
            metavar="2|3|4|1.5|...",
            parser=parse_factor,
            help="How many times larger each side becomes; between whole numbers by the next "
            "larger model, whose result is reduced. By default 4, or that of --weights; fix keeps "
            "the size.",
            show_default=False,
        ),
    ] = None
    long_side: Annotated[
        Any,
        typer.Option(
            "--long-side",
            metavar="PIXELS",
            parser=parse_side,
            help="Enlarge until the longer side has so many pixels.",
            show_default=False,
        ),
    ] = None
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            metavar="WIDTHxHEIGHT",
            parser=parse_box,
            help="Enlarge until the image fills this size in one direction and fits inside it.",
            show_default=False,
        ),
    ] = None
    megapixels: Annotated[
        Any,
        typer.Option(
            "--megapixels",
            metavar="N",
            parser=parse_megapixels,
            help="Enlarge until the image has so many millions of pixels.",
            show_default=False,
        ),
    ] = None
    only_below: Annotated[
        Any,
        typer.Option(
            "--only-below",
            metavar="N[MP]",
            parser=parse_megapixels,
            help="Leave images of so many megapixels and more alone.",
            show_default=False,
        ),
    ] = None

    @property
    def sizing(self) -> Sizing:
        """The size that was asked for.

        Raises:
            UsageError: Two options name one.
        """
        asked = {
            "--scale": self.scale,
            "--long-side": self.long_side,
            "--size": self.size,
            "--megapixels": self.megapixels,
        }
        given = [option for option, value in asked.items() if value is not None]
        if len(given) > 1:
            raise UsageError(
                f"{' and '.join(given)} exclude each other", "each says how large results become"
            )
        return Sizing(self.scale, self.long_side, self.size, self.megapixels, self.only_below)

    @property
    def next_scale(self) -> int | None:
        """The next whole number; None where no factor is named."""
        return None if self.scale is None else max(2, math.ceil(self.scale))

    def sizing_of_model(self, scale: int) -> Sizing:
        """Return the size that was asked for, where it may be what a model makes by itself."""
        return replace(self.sizing, factor=None) if self.scale == scale else self.sizing
