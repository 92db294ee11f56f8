from __future__ import annotations

import numpy as np
import pytest

from mambair_cli.training.degradations.camera import (
    Camera,
    Development,
    add_sensor_noise,
    demosaic,
    mosaic,
    reduced,
)
from mambair_cli.training.parsing import Span


def ramps(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32) / width
    return np.stack([0.2 + x / 2, 0.2 + y / 2, 0.5 - x / 4], axis=-1).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(24, 40), (25, 31)])
def test_a_mosaic_of_smooth_colours_is_filled_in_exactly(height: int, width: int) -> None:
    picture = ramps(height, width)
    filled = demosaic(mosaic(picture))
    assert np.allclose(filled[3:-3, 3:-3], picture[3:-3, 3:-3], atol=1e-5)


def test_development_undoes_what_undid_it() -> None:
    picture = ramps(24, 40)
    for seed in range(5):
        camera = Development.drawn(np.random.default_rng(seed))
        again = camera.develop(mosaic(camera.undo(picture)))
        assert np.abs(again - picture)[3:-3, 3:-3].max() < 0.02


def test_sensor_noise_grows_with_brightness() -> None:
    generator = np.random.default_rng(0)
    dark, bright = (
        add_sensor_noise(np.full((64, 96), level, np.float32), 1e-3, generator).std()
        for level in (0.05, 0.8)
    )
    assert bright == pytest.approx(np.sqrt(0.8e-3), rel=0.1)
    assert bright > 3 * dark


def test_noise_reduction_leaves_coarse_noise_of_less_colour() -> None:
    noise = np.random.default_rng(0).standard_normal((64, 96, 3)).astype(np.float32)
    assert reduced(noise, 0, 0) is noise
    coarse = reduced(noise, 0.7, 1.5)
    neighbours = np.corrcoef(coarse[:, 1:, 1].ravel(), coarse[:, :-1, 1].ravel())[0, 1]
    assert neighbours > 0.3
    assert coarse.std(axis=2).mean() < 0.5 * coarse.std()


def test_the_step_changes_nothing_but_by_noise() -> None:
    pixels = (ramps(48, 64) * 255).astype(np.uint8)
    generator = np.random.default_rng(0)
    hardly = Camera("camera", Span(1e-9, 1e-9))(pixels, generator)
    assert np.abs(hardly.astype(int) - pixels).max() <= 1
    step = Camera("camera", Span(1e-3, 1e-3), Span(0, 1), Span(0, 2))
    mean = np.mean([step(pixels, generator) for _ in range(24)], axis=0)
    single = step(pixels, generator).astype(float)
    assert (single - pixels).std() > 2
    assert abs((mean - pixels).mean()) < 1.5
    assert (mean - pixels).std() < 0.5 * (single - pixels).std()
