"""The weights that ship: each must beat what there is without it, on an image drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

import mambair_cli as mambair
from mambair_cli.checkpoints import catalogue
from mambair_cli.evaluation.degrade import add_gaussian_noise, downscale, jpeg_compress
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_image

WIDTH, HEIGHT = 180, 132  # multiples of 2, 3 and 4
BUNDLED = {entry.id: entry for entry in catalogue.entries() if entry.bundled}
# PSNR in dB over bicubic enlargement, the noisy image and the JPEG.
MARGIN = {
    "mambair-tiny-sr-x2": 1.5,
    "mambair-tiny-sr-x3": 1.0,
    "mambair-tiny-sr-x4": 0.7,
    "mambair-tiny-real-sr-x4": 0.2,
    "mambair-tiny-denoise-s15": 5.0,
    "mambair-tiny-denoise-s25": 7.5,
    "mambair-tiny-denoise-s50": 10.0,
    "mambair-tiny-denoise-real": 1.2,
    "mambair-tiny-dejpeg-color": 1.0,
    "mambair-tiny-dejpeg-q10": 1.0,
    "mambair-tiny-dejpeg-q30": 1.5,
    "mambair-tiny-dejpeg-q40": 1.5,
}

# Levels of 0-255 by which a flat area may be off in the mean, and ripple.
FLAT_SHIFT = {"sr": 0.1, "realsr": 1.5, "dejpeg": 0.1, "denoise": 1.5, "denoise-real": 1.5}
FLAT_RIPPLE = {"sr": 0.1, "realsr": 1.0, "dejpeg": 0.1, "denoise": 3.0, "denoise-real": 3.0}


def drawing() -> np.ndarray:
    """A scene of shading, edges, thin lines and fine texture, `(h w 3)` uint8."""
    large = Image.new("RGB", (4 * WIDTH, 4 * HEIGHT), (150, 180, 215))
    pen = ImageDraw.Draw(large)
    for row in range(4 * HEIGHT):
        pen.line((0, row, 4 * WIDTH, row), (90 + row // 5, 120 + row // 6, 215 - row // 5))
    pen.ellipse((60, 50, 330, 320), (214, 120, 60), (40, 30, 30), 6)
    pen.polygon([(380, 480), (500, 90), (690, 500)], (50, 110, 70))
    for step in range(12):
        pen.line((20, 340 + 14 * step, 350, 300 + 17 * step), (30, 30, 60 + 10 * step), 3)
        pen.rectangle((400 + 24 * step, 24, 411 + 24 * step, 70), (240, 235, 210))
    small = np.asarray(large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), np.float32)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    weave = 10 * np.sin(0.9 * x + 0.3 * y) * np.sin(0.25 * x - 0.8 * y) * (y > HEIGHT // 2)
    return np.rint(np.clip(small + weave[..., None], 0, 255)).astype(np.uint8)


def degraded(entry: catalogue.CatalogueEntry, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model's input, and what there would be without the model."""
    if entry.task == "sr":
        low = downscale(truth, entry.scale)
        return low, imresize(low, entry.scale)
    if entry.task == "realsr":
        low = jpeg_compress(downscale(truth, entry.scale), 60)
        return low, imresize(low, entry.scale)
    if entry.task == "dejpeg":
        coded = jpeg_compress(truth, entry.quality or 30)
        return coded, coded
    noisy = add_gaussian_noise(truth, entry.sigma or 6, np.random.default_rng(1)).clip(0, 1)
    pixels = np.rint(noisy * 255).astype(np.uint8)
    return pixels, pixels


def test_every_task_has_its_models() -> None:
    assert BUNDLED.keys() == MARGIN.keys()


@pytest.mark.parametrize("entry", BUNDLED.values(), ids=BUNDLED)
def test_a_bundled_model_beats_doing_nothing(entry: catalogue.CatalogueEntry) -> None:
    truth = drawing()
    if entry.channels == 1:
        truth = np.asarray(Image.fromarray(truth).convert("L"))[..., None]
    low, without = degraded(entry, truth)
    restored = mambair.restore(low, mambair.load_model(entry.id, "cpu"))
    gain = psnr(restored, truth, border=entry.scale) - psnr(without, truth, border=entry.scale)
    assert gain > MARGIN[entry.id], gain


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("entry", BUNDLED.values(), ids=BUNDLED)
def test_a_flat_colour_stays_flat_and_shows_no_pattern(
    entry: catalogue.CatalogueEntry, tile: int
) -> None:
    colour = np.array([200, 60, 40][: entry.channels])
    flat = np.broadcast_to(colour, (72, 90, entry.channels)).astype(np.uint8)
    low, _ = degraded(entry, flat)
    restored = mambair.restore(low, mambair.load_model(entry.id, "cpu"), tile=tile)
    border = 8 * entry.scale  # where the network sees the black around an image
    inner = restored[border:-border, border:-border].astype(float)
    # A file has rounded its colours, so weights for any quality may move them by a level.
    blind = entry.task == "dejpeg" and entry.quality is None
    # What a file cut off of noise is put back, so the colour is that without it.
    for channel, level in enumerate(colour if entry.sigma else low.mean((0, 1))):
        allowed = 1.5 if blind else FLAT_SHIFT[entry.task]
        assert inner[..., channel].mean() == pytest.approx(level, abs=allowed)
    assert inner.std((0, 1)).max() < (1.0 if blind else FLAT_RIPPLE[entry.task])


@pytest.mark.parametrize(("sigma", "gain"), [(15, 0.08), (25, 1), (50, 4)])
def test_noise_that_a_file_cut_off_is_removed_almost_as_well(sigma: int, gain: float) -> None:
    dark = (drawing() * 0.25).astype(np.uint8)
    noisy = add_gaussian_noise(dark, sigma, np.random.default_rng(1))
    model = mambair.load_model(f"mambair-tiny-denoise-s{sigma}", "cpu")
    cut = np.rint(noisy.clip(0, 1) * 255).astype(np.uint8)
    plain = restore_image(model.network, RestorableImage(cut), model.spec, RestoreOptions(tile=0))
    before, now = psnr(plain.pixels, dark), psnr(mambair.restore(cut, model, tile=0), dark)
    whole = mambair.restore(noisy, model, tile=0).clip(0, 1)
    assert now - before > gain
    assert now > psnr(np.rint(whole * 255).astype(np.uint8), dark) - 0.8


def test_weights_for_noise_are_shown_as_much_as_they_know() -> None:
    truth = np.tile(drawing(), (2, 3, 1))
    noisy = add_gaussian_noise(truth, 50, np.random.default_rng(1)).clip(0, 1)
    pixels = np.rint(noisy * 255).astype(np.uint8)
    model = mambair.load_model("mambair-tiny-denoise-s50", "cpu")
    planned, whole = (mambair.restore(pixels, model, tile=tile) for tile in ("auto", 0))
    assert psnr(planned, truth) > psnr(whole, truth) + 0.05


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_noise_that_all_colours_share_is_removed_from_gray(sigma: int, channels: int) -> None:
    truth = np.asarray(Image.fromarray(drawing()).convert("L"))[..., None]
    noisy = add_gaussian_noise(truth, sigma, np.random.default_rng(1)).clip(0, 1)
    pixels = np.rint(noisy * 255).astype(np.uint8).repeat(channels, axis=2)
    model = mambair.load_model(f"mambair-tiny-denoise-s{sigma}", "cpu")
    as_if_not = restore_image(
        model.network, RestorableImage(pixels), model.spec, RestoreOptions(tile=0)
    )
    restored = mambair.restore(pixels, model, tile=0)
    same = truth.repeat(channels, axis=2)
    assert psnr(restored, same) > psnr(as_if_not.pixels, same) + 3
    assert psnr(restored, same) > psnr(pixels, same) + 6


@pytest.mark.parametrize("quality", [10, 30, 40])
def test_colours_of_a_jpeg_stay_and_its_luma_gets_better(quality: int) -> None:
    truth = drawing()
    coded = jpeg_compress(truth, quality)
    restored = mambair.restore(coded, mambair.load_model(f"mambair-tiny-dejpeg-q{quality}", "cpu"))
    assert psnr(restored, truth) > psnr(coded, truth)
    chroma = [
        np.asarray(Image.fromarray(i).convert("YCbCr"), int)[..., 1:] for i in (coded, restored)
    ]
    assert np.abs(chroma[0] - chroma[1]).mean() < 1
