"""The restoring commands: `fix`, `sr`, `realsr`, `denoise`, `dejpeg`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from mambair_cli.cli.options import RestoreSettings, takes_settings
from mambair_cli.cli.restoring import restore_files
from mambair_cli.cli.sizes import SizeSettings
from mambair_cli.errors import UsageError

REALSR_SCALE = 4
# Of models of `sr`: it reaches every size, and takes no longer than smaller ones.
LARGEST_SCALE = 4


@takes_settings
def fix(settings: RestoreSettings, sizes: SizeSettings) -> None:
    """Make photographs better: look what each has, do what helps, leave good ones alone.

    Blocks of JPEG and noise are removed; with a size the picture is enlarged at last.
    """
    if "model" in settings.preferred:  # it speaks of one model, of most steps there is none such
        settings = replace(settings, model=None)
    sizing = sizes.sizing
    scale = sizes.next_scale or (LARGEST_SCALE if sizing.is_free else None)
    restore_files(settings, "fix", scale=scale, sizing=sizing)


@takes_settings
def sr(settings: RestoreSettings, sizes: SizeSettings) -> None:
    """Enlarge clean images, by default four times: photo.png becomes photo_x4.png."""
    if sizes.scale is not None and sizes.scale.denominator == 1:
        whole = int(sizes.scale)
        restore_files(settings, "sr", scale=whole, sizing=sizes.sizing_of_model(whole))
        return
    # The next larger model; of any size, the largest, which takes the same time.
    scale = None if settings.weights else sizes.next_scale
    restore_files(settings, "sr", scale=scale, sizing=sizes.sizing)


@takes_settings
def realsr(settings: RestoreSettings, sizes: SizeSettings) -> None:
    """Enlarge photographs, by default four times, removing their blur, noise and compression."""
    asked = None if settings.weights else sizes.next_scale
    scale = None if asked is None else min(asked, REALSR_SCALE)
    restore_files(settings, "realsr", scale=scale, sizing=sizes.sizing_of_model(REALSR_SCALE))


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
