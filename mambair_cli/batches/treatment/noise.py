"""What is done about Gaussian noise."""

from __future__ import annotations

from dataclasses import replace

from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import LEAST_NOISE, Step, Treatment, as_shown, left_alone
from mambair_cli.checkpoints.choice import nearest_level, trained_levels
from mambair_cli.checkpoints.request import Request
from mambair_cli.pixels.noise import estimate_sigma

# Formats that lose something, and with it the noise by which noise is known best.
LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL")
# Weaker noise cannot be told from texture: measured on pixels as they were, and on compressed ones.
_LEAST_SIGMA, _LEAST_SIGMA_COMPRESSED = 2.5, 5.0


def against_noise(request: Request, sample: Sample) -> Treatment:
    """Remove the noise that the user names, or as much as is measured."""
    if request.sigma is not None and request.sigma <= LEAST_NOISE:
        return left_alone(f"noise {request.sigma:g}")
    if request.sigma is not None or request.weights is not None:
        return Treatment((Step(request, request.sigma),))
    compressed = sample.metadata.source_format in LOSSY
    sigma = estimate_sigma(sample.pixels, compressed=compressed)
    least = _LEAST_SIGMA_COMPRESSED if compressed else _LEAST_SIGMA
    if sigma < least:
        found = f"noise {sigma:.1f}"
        if sample.has_coarse_noise:
            return left_alone(found, "the noise is coarse: mambair denoise --real removes it")
        return left_alone(found)
    sigma = round(sigma, 1)
    found = f"noise {sigma:g}"
    return Treatment((Step(for_noise_of(sigma, request, sample), sigma),), found)


def for_noise_of(sigma: float, request: Request, sample: Sample) -> Request:
    """Ask for the weights that are nearest to how strong they are shown the noise."""
    shown = as_shown(sigma, gray=sample.is_gray)
    return replace(request, sigma=nearest_level("sigma", shown, trained_levels("denoise", "sigma")))
