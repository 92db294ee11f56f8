"""The restoring commands: `sr`, `realsr`, `denoise`, `dejpeg`."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any

import typer

from mambair_cli.cli.option_values import parse_box, parse_factor, parse_megapixels, parse_side
from mambair_cli.cli.options import RestoreSettings, takes_settings
from mambair_cli.cli.restoring import restore_files
from mambair_cli.errors import UsageError
from mambair_cli.restoration.sizing import Sizing

REALSR_SCALE = 4


Scale = Annotated[
    Any,
    typer.Option(
        "--scale",
        metavar="2|3|4|1.5|...",
        parser=parse_factor,
        help="How many times larger each side becomes; between whole numbers by the next larger "
        "model, whose result is reduced. By default 4, or that of --weights.",
        show_default=False,
    ),
]
LongSide = Annotated[
    Any,
    typer.Option(
        "--long-side",
        metavar="PIXELS",
        parser=parse_side,
        help="Enlarge until the longer side has so many pixels.",
        show_default=False,
    ),
]
Box = Annotated[
    Any,
    typer.Option(
        "--size",
        metavar="WIDTHxHEIGHT",
        parser=parse_box,
        help="Enlarge until the image fills this size in one direction and fits inside it.",
        show_default=False,
    ),
]
Megapixels = Annotated[
    Any,
    typer.Option(
        "--megapixels",
        metavar="N",
        parser=parse_megapixels,
        help="Enlarge until the image has so many millions of pixels.",
        show_default=False,
    ),
]
OnlyBelow = Annotated[
    Any,
    typer.Option(
        "--only-below",
        metavar="N[MP]",
        parser=parse_megapixels,
        help="Leave images of so many megapixels and more alone.",
        show_default=False,
    ),
]


@takes_settings
def sr(
    settings: RestoreSettings,
    *,
    scale: Scale = None,
    long_side: LongSide = None,
    size: Box = None,
    megapixels: Megapixels = None,
    only_below: OnlyBelow = None,
) -> None:
    """Enlarge clean images: photo.png becomes photo_x4.png."""
    sizing = _sizing(scale, long_side, size, megapixels, only_below)
    # The next larger model; of any size, the largest, which takes the same time.
    whole = None if scale is None or settings.weights else max(2, math.ceil(scale))
    if scale is not None and scale.denominator == 1:
        whole, sizing = int(scale), replace(sizing, factor=None)
    restore_files(settings, "sr", scale=whole, sizing=sizing)


@takes_settings
def realsr(
    settings: RestoreSettings,
    *,
    scale: Scale = None,
    long_side: LongSide = None,
    size: Box = None,
    megapixels: Megapixels = None,
    only_below: OnlyBelow = None,
) -> None:
    """Enlarge photographs, by default four times, removing their blur, noise and compression."""
    sizing = _sizing(scale, long_side, size, megapixels, only_below)
    if scale == REALSR_SCALE:
        sizing = replace(sizing, factor=None)
    restore_files(settings, "realsr", sizing=sizing)


def _sizing(
    scale: Fraction | None,
    long_side: int | None,
    size: tuple[int, int] | None,
    megapixels: int | None,
    only_below: int | None,
) -> Sizing:
    asked = {
        "--scale": scale,
        "--long-side": long_side,
        "--size": size,
        "--megapixels": megapixels,
    }
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other", "each says how large results become"
        )
    return Sizing(scale, long_side, size, megapixels, only_below)


@takes_settings
def denoise(
    settings: RestoreSettings,
    *,
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            min=0,
            max=255,
            metavar="SIGMA",
            help="Strength of the Gaussian noise, its standard deviation on the 0-255 scale. "
            "By default measured in each image.",
            show_default=False,
        ),
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="Remove the noise of a camera instead of Gaussian noise.")
    ] = False,
) -> None:
    """Remove noise."""
    if real and sigma is not None:
        raise UsageError(
            f"--real and --sigma {sigma:g} exclude each other",
            "use --sigma for Gaussian noise, --real for the noise of a camera",
        )
    restore_files(settings, "denoise-real" if real else "denoise", sigma=sigma)


@takes_settings
def dejpeg(
    settings: RestoreSettings,
    *,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=1,
            max=100,
            metavar="10|30|40",
            help="JPEG quality that the image was saved with. By default read from each file, or "
            "found in its pixels.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove the artefacts of JPEG compression."""
    restore_files(settings, "dejpeg", quality=quality)
