"""What is done about a photograph of which nothing is known: all that is found and can be helped.

Which weights, in which order, from which strength on, is what gained most while no kind of file
lost (benchmarks/fix.py, docs/choosing.md). Blocks go first, within the cells of the file: a network
against noise takes them for detail. Then noise. A larger size comes last: where there were blocks
by the weights that were trained on what is left by then, else by those for clean pictures. Against
blur alone there are no weights: it is only told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mambair_cli.batches.treatment.blocks import blocks_found
from mambair_cli.batches.treatment.noise import for_noise_of
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Step, Treatment, left_alone
from mambair_cli.checkpoints.request import Request
from mambair_cli.pixels.blur import estimate_blur
from mambair_cli.pixels.noise import direction_of, estimate_sigma, grain_of, shown_noise

# Points between which values lie on straight lines.
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Thresholds:
    """From where on something is done or told, and how much.

    Shares are chosen by benchmarks/fix_shares.py, and all of it is judged by benchmarks/fix.py.

    Attributes:
        noise: Of pixels that were never compressed, noise of the colours times its evenness. Clean
            pictures have 0 to 0.5, noise of sigma 4 more than 1.6, that of a camera 1 and more.
        noise_of_few: The same of few pixels, whose detail lies close: clean ones have up to 0.95.
        few: How many those are.
        gaussian: From this sigma on noise that is white is left to the weights for Gaussian noise;
            of weaker noise those for cameras remove more.
        white: Share of the noise of the colours that the least directions of patches show, where it
            is white.
        whole: How strong noise of a camera is in all, of which the colours show a part.
        by_noise: Share of the change against noise that is kept, by its strength.
        by_evenness: The largest share: what lies less evenly is less surely noise, and not texture.
        by_evenness_of_gray: The same of gray, whose texture no colour tells: clean pictures have up
            to 0.44.
        by_grain: The share for compressed pictures, by their grain. Those without noise have grain
            too, and those whose camera smoothed its noise hardly any: what gained for all of them
            and left none worse than it came.
        grain: From where on it is told.
        by_quality: How the share goes down where a file is so fine that there is little to gain.
        by_texture: How it goes down where colours have detail beside noise, in levels of 255.
        by_colours: How far it then goes up, at most to all of the change, where colours that went
            through a compression still show noise, by its strength times its evenness.
        least_share: A smaller change is not worth its time.
        blur: Of edges, in pixels. Undegraded pictures have 0.3 to 0.8, blurred by 1.2 0.9 to 1.5.
        by_blur: How far a compressed picture is taken for blurred. What smooths it then moves it
            away from what it was, unless there is noise.
        by_direction: How far what it shows is taken for noise, by the direction of its detail:
            PolyU has 0.17 to 0.34, pictures blurred by 1.2 at quality 70 have 0.26 to 0.68.
    """

    noise: float = 0.7
    noise_of_few: float = 1.0
    few: int = 30_000
    gaussian: float = 12.0
    white: float = 0.82
    whole: float = 2.2
    by_noise: Curve = ((2, 0.4), (4, 0.65), (8, 1.0))
    by_evenness: Curve = ((0.3, 0.0), (0.5, 0.6), (0.58, 1.0))
    by_evenness_of_gray: Curve = ((0.45, 0.0), (0.55, 0.6), (0.6, 1.0))
    by_grain: Curve = ((0.0, 0.4), (1.875, 0.55))
    grain: float = 0.5
    by_quality: Curve = ((80, 1.0), (92, 0.55), (96, 0.0))
    by_texture: Curve = ((1.3, 1.0), (2.2, 0.4))
    by_colours: Curve = ((0.17, 0.0), (0.3, 1.0))
    least_share: float = 0.15
    blur: float = 0.85
    by_blur: Curve = ((0.7, 0.0), (0.85, 1.0))
    by_direction: Curve = ((0.28, 1.0), (0.36, 0.0))


THRESHOLDS = Thresholds()
_Possible = dict[str, Request]


@dataclass(frozen=True)
class _Part:
    """What was found of one kind, a phrase each, and what is done about it."""

    found: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    least_quality: int = 0


def against_all(request: Request, sample: Sample) -> Treatment:
    """Remove blocks and noise as far as they are found, and enlarge where that is asked for."""
    possible: _Possible = {step.task: step for step in request.every_step()}
    height, width = sample.size
    blur = estimate_blur(sample.luma)
    smoothing = _smoothing(sample, blur)
    blocks = _blocks(possible, sample, smoothing)
    noise = _noise(possible, sample, blocks, smoothing)
    parts = [_Part((f"{width}x{height} pixels",)), blocks, noise]
    if blur >= THRESHOLDS.blur:
        parts.append(_Part((f"blur {blur:.1f}",)))
    if "sr" in possible:
        parts.append(_Part(steps=(Step(possible["realsr" if blocks.steps else "sr"]),)))
    steps = tuple(step for part in parts for step in part.steps)
    found = ", ".join(phrase for part in parts for phrase in part.found)
    if not steps:
        return left_alone(found)
    # Of an enlarged picture files of the ordinary quality lose less than they have won.
    keeps = 0 if "sr" in possible else max(part.least_quality for part in parts)
    return Treatment(steps, f"{found}: {', '.join(step.command for step in steps)}", keeps)


def _smoothing(sample: Sample, blur: float) -> float:
    """Return the share that is taken of what smooths a compressed picture."""
    blurred = _at(THRESHOLDS.by_blur, blur)
    if blurred == 0:
        return 1.0
    return 1 - blurred * (1 - _at(THRESHOLDS.by_direction, direction_of(sample.luma)))


def _blocks(possible: _Possible, sample: Sample, smoothing: float) -> _Part:
    treatment, coding = blocks_found(possible["dejpeg"], sample), sample.metadata.jpeg
    found, own = [], ""
    if coding is not None:
        own = f"JPEG quality {coding.quality}"
        chroma = coding.subsampling
        found.append(own if chroma is None else f"{own} with {chroma}")
    if treatment is None or not treatment.steps:
        return _Part(tuple(found))
    if treatment.found != own:
        found.append(treatment.found)
    steps = tuple(_with_shrinking(step, smoothing) for step in treatment.steps)
    return _Part(tuple(found), steps, treatment.least_quality)


def _with_shrinking(step: Step, share: float) -> Step:
    return replace(step, cells=step.cells and replace(step.cells, shrinking=share))


def _noise(possible: _Possible, sample: Sample, blocks: _Part, smoothing: float) -> _Part:
    if sample.is_gray:
        return _as_it_was(possible, sample)
    if blocks.steps:
        return _grain(possible, sample, blocks.steps[0].request.quality or 0, smoothing)
    noise, coding = _as_it_was(possible, sample), sample.metadata.jpeg
    if noise.steps or coding is None:
        return noise
    return _grain(possible, sample, coding.quality, smoothing)


def _as_it_was(possible: _Possible, sample: Sample) -> _Part:
    """Look at pixels that were never compressed, as far as is known; at gray ones in any case."""
    shown, gray = shown_noise(sample.pixels), sample.is_gray
    is_small = sample.pixels[..., 0].size < THRESHOLDS.few
    least = THRESHOLDS.noise_of_few if is_small else THRESHOLDS.noise
    most = _at(THRESHOLDS.by_evenness_of_gray if gray else THRESHOLDS.by_evenness, shown.evenness)
    if shown.level * shown.evenness < least or most < THRESHOLDS.least_share:
        return _Part()
    sigma = round(estimate_sigma(sample.pixels, compressed=False), 1)
    is_white = sigma >= THRESHOLDS.white * shown.level
    # Weights for cameras know colours only.
    if gray or (is_white and sigma >= THRESHOLDS.gaussian):
        step = Step(for_noise_of(sigma, possible["denoise"], sample), sigma, strength=most)
        return _Part((f"noise {sigma:g}",), (step,))
    strength = sigma if is_white else THRESHOLDS.whole * shown.level
    share = min(most, _at(THRESHOLDS.by_noise, strength))
    return _Part((f"noise {strength:.1f}",), (Step(possible["denoise-real"], strength=share),))


def _grain(possible: _Possible, sample: Sample, quality: int, smoothing: float) -> _Part:
    """Look at pixels whose noise went through a compression of a quality."""
    grain, shown = grain_of(sample.luma), shown_noise(sample.pixels)
    share = _at(THRESHOLDS.by_grain, grain) * _at(THRESHOLDS.by_quality, quality)
    share *= _at(THRESHOLDS.by_texture, shown.texture) * smoothing
    share += (1 - share) * _at(THRESHOLDS.by_colours, shown.level * shown.evenness)
    if share < THRESHOLDS.least_share:
        return _Part()
    found = (f"grain {grain:.1f}",) if grain >= THRESHOLDS.grain else ()
    return _Part(found, (Step(possible["denoise-real"], strength=share),))


def _at(curve: Curve, value: float) -> float:
    points, shares = zip(*curve, strict=True)
    return float(np.interp(value, points, shares))
