"""Noise as a camera makes it: on the sensor, then through all that makes a picture of its values.

The picture is taken back to the sensor (Brooks et al., "Unprocessing Images for Learned Raw
Denoising", CVPR 2019), noise is added there, and both, with noise and without, are developed again.
Their difference is the noise: it depends on brightness and colour and neighbours share it. What is
added to the picture is that difference alone, so that nothing else of it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.pixels.traces import LUMA
from mambair_cli.training.degradations.blur import gaussian
from mambair_cli.training.parsing import Span

Values = NDArray[np.float32]

_GAMMA = 2.2
# From XYZ to the colours of four cameras (the same paper).
_CAMERAS = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
_SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_RED_GAIN, _BLUE_GAIN = Span(1.9, 2.4), Span(1.5, 1.9)
# How read noise goes with shot noise, both as variances: log read = slope log shot + offset.
_READ_SLOPE, _READ_OFFSET, _READ_SPREAD = 2.18, 1.20, 0.26


@dataclass(frozen=True)
class Camera:
    """Noise of a sensor, developed.

    Attributes:
        kind: `camera`.
        shot: Variance of the shot noise over brightness, white being 1, drawn evenly by its
            logarithm; the read noise follows it as it does in cameras.
        grain: Standard deviation in pixels of the blur that the camera's own noise reduction gives
            the noise.
        colour_grain: The same of the blur that the noise's colour gets besides.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["camera"]
    shot: Span
    grain: Span | None = None
    colour_grain: Span | None = None
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Add noise to `(h w 3)` uint8."""
        picture: Values = pixels.astype(np.float32) / np.float32(255)
        camera = Development.drawn(generator)
        raw = mosaic(camera.undo(picture))
        noisy = add_sensor_noise(raw, self.shot.draw_log(generator), generator)
        noise = camera.develop(noisy) - camera.develop(raw)
        grains = (
            0.0 if span is None else span.draw(generator)
            for span in (self.grain, self.colour_grain)
        )
        return to_8_bits(picture + reduced(noise, *grains))


@dataclass(frozen=True)
class Development:
    """How a camera makes a picture of linear values.

    Attributes:
        gains: Of red, green and blue: white balance and exposure.
        matrix: `(3 3)`, from the camera's colours to sRGB.
    """

    gains: Values
    matrix: Values

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> Development:
        """Draw a camera between four real ones, and the light that it meets."""
        shares = generator.dirichlet(np.ones(len(_CAMERAS)))
        to_camera = np.tensordot(shares, _CAMERAS, 1) @ _SRGB_TO_XYZ
        to_camera /= to_camera.sum(1, keepdims=True)
        exposure = 1 / generator.normal(0.8, 0.1)
        red, blue = (span.draw(generator) for span in (_RED_GAIN, _BLUE_GAIN))
        gains = np.array([red, 1, blue]) * exposure
        return cls(gains.astype(np.float32), np.linalg.inv(to_camera).astype(np.float32))

    def undo(self, picture: Values) -> Values:
        """Take a picture `(h w 3)` back to linear values of the camera's colours."""
        linear = (0.5 - np.sin(np.arcsin(1 - 2 * picture) / 3)) ** np.float32(_GAMMA)
        colours = linear @ np.linalg.inv(self.matrix).T
        # White stays white: what is bright gets less of the inverse gains (Brooks et al., 3.3).
        bright = np.clip((colours.mean(-1, keepdims=True) - 0.9) / 0.1, 0, 1) ** 2
        gains: Values = np.maximum(bright + (1 - bright) / self.gains, 1 / self.gains)
        return colours * gains

    def develop(self, raw: Values) -> Values:
        """Make a picture `(h w 3)`, from 0 to 1, of a mosaic `(h w)` of linear values."""
        # Balanced first: the filters take the colours for alike.
        gains = mosaic(np.broadcast_to(self.gains, (*raw.shape, 3)))
        linear = demosaic(np.minimum(raw * gains, 1)) @ self.matrix.T
        coded: Values = np.clip(linear, 1e-8, 1) ** np.float32(1 / _GAMMA)
        return coded**2 * (3 - 2 * coded)


def mosaic(colours: Values) -> Values:
    """Keep of `(h w 3)` what a sensor sees through its Bayer filter: `(h w)`, red at the corner."""
    seen = colours[..., 1].copy()
    seen[::2, ::2] = colours[::2, ::2, 0]
    seen[1::2, 1::2] = colours[1::2, 1::2, 2]
    return seen


def add_sensor_noise(raw: Values, shot: float, generator: np.random.Generator) -> Values:
    """Add shot and read noise to linear values, by a Gaussian of the same variance."""
    log_read = _READ_SLOPE * np.log(shot) + _READ_OFFSET + generator.normal(0, _READ_SPREAD)
    variance = np.maximum(raw, 0) * np.float32(shot) + np.float32(np.exp(log_read))
    noise = generator.standard_normal(raw.shape, dtype=np.float32)
    noisy: Values = np.minimum(raw + noise * np.sqrt(variance), 1)
    return noisy


def demosaic(raw: Values) -> Values:
    """Fill in the colours of a Bayer mosaic by the 5x5 filters of Malvar, He and Cutler (2004).

    Args:
        raw: `(h w)`, red at the corner; sides are even.

    Returns:
        `(h w 3)`.
    """
    padded = np.pad(raw, 2, "reflect")
    height, width = raw.shape

    def at(y: int, x: int) -> Values:
        return padded[2 + y : 2 + y + height, 2 + x : 2 + x + width]

    beside = at(0, -1) + at(0, 1)
    above = at(-1, 0) + at(1, 0)
    corners = at(-1, -1) + at(-1, 1) + at(1, -1) + at(1, 1)
    far_beside = at(0, -2) + at(0, 2)
    far_above = at(-2, 0) + at(2, 0)
    green = (4 * raw + 2 * (beside + above) - far_beside - far_above) / 8
    in_row = (5 * raw + 4 * beside - corners - far_beside + far_above / 2) / 8
    in_column = (5 * raw + 4 * above - corners - far_above + far_beside / 2) / 8
    across = (6 * raw + 2 * corners - 1.5 * (far_beside + far_above)) / 8
    colours = np.repeat(raw[..., None], 3, axis=2)
    for y, x in ((0, 0), (1, 1)):
        colours[y::2, x::2, 1] = green[y::2, x::2]
    # Where red (channel 0) and blue (channel 2) lie: rows of their own first, then the others'.
    for channel, y in ((0, 0), (2, 1)):
        other = 1 - y
        colours[y::2, other::2, channel] = in_row[y::2, other::2]
        colours[other::2, y::2, channel] = in_column[other::2, y::2]
        colours[other::2, other::2, channel] = across[other::2, other::2]
    return colours


def reduced(noise: Values, grain: float, colour_grain: float) -> Values:
    """Blur noise `(h w 3)` as a camera's noise reduction does, its colour more."""
    if grain > 0:
        noise = gaussian(noise, (grain, grain))
    if colour_grain > 0:
        luma = (noise @ LUMA)[..., None]
        noise = luma + gaussian(noise - luma, (colour_grain, colour_grain))
    return noise
