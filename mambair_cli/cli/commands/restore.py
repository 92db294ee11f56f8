"""The restoring commands: `sr`, `realsr`, `denoise`, `dejpeg`."""

from __future__ import annotations

from typing import Annotated

import typer

from mambair_cli.cli.options import RestoreSettings, takes_settings
from mambair_cli.cli.restoring import restore_files
from mambair_cli.errors import UsageError


@takes_settings
def sr(
    settings: RestoreSettings,
    *,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            metavar="2|3|4",
            help="How many times larger each side becomes. By default 4, or that of --weights.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Enlarge clean images: photo.png becomes photo_x4.png."""
    restore_files(settings, "sr", scale=scale)


@takes_settings
def realsr(settings: RestoreSettings) -> None:
    """Enlarge photographs four times, removing their blur, noise and compression."""
    restore_files(settings, "realsr")


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
