from __future__ import annotations

import numpy as np

from mambair_cli.training.degradations.blur import Blur
from mambair_cli.training.degradations.camera import Camera
from mambair_cli.training.degradations.chain import run_steps
from mambair_cli.training.degradations.compression import Jpeg
from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.degradations.resizing import Fit, Resize
from mambair_cli.training.parsing import Span

SECOND_ORDER = (
    Blur("blur", Span(0.2, 2), Span(1, 3)),
    Resize("resize", Span(0.4, 1.2)),
    Camera("camera", Span(1e-4, 3e-3), chance=0.5),
    Jpeg("jpeg", Span(40, 95), chance=0.5),
    Blur("blur", Span(0.2, 1), chance=0.5),
    Fit("fit"),
    Noise("noise", Span(1, 10), chance=0.5),
    Jpeg("jpeg", Span(30, 95)),
)


def test_a_seed_decides_all_and_the_size_is_that_asked_for() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)
    first, again, other = (
        run_steps(SECOND_ORDER, pixels, (20, 24), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (20, 24, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_chance_is_the_share_of_samples() -> None:
    pixels = np.full((4, 6, 3), 128, np.uint8)
    generator = np.random.default_rng(0)
    steps = (Noise("noise", Span(9, 9), chance=0.25),)
    changed = [run_steps(steps, pixels, (4, 6), generator) is not pixels for _ in range(400)]
    assert 0.2 < np.mean(changed) < 0.3
