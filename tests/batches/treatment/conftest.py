"""A photograph, and what is done about files that are made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.batches.treatment.choice import treatment_of
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.imaging.files import read_image

CAT = Path(__file__).parents[3] / "examples" / "cat.png"


@pytest.fixture
def cat():
    return Image.open(CAT).convert("RGB")


@pytest.fixture
def treated(tmp_path):
    """Saves a picture, and tells what is done about the file."""

    def treat(request, picture, suffix="jpg", **options):
        path = tmp_path / f"photo.{suffix}"
        picture.save(path, **options)
        return treatment_of(request, Sample.of_image(read_image(path)))

    return treat


@pytest.fixture
def noisy():
    """Adds Gaussian noise to a picture."""

    def add(picture, sigma):
        noise = np.random.default_rng(0).normal(0, sigma, (picture.height, picture.width, 3))
        values = np.clip(np.asarray(picture) + noise, 0, 255).round()
        return Image.fromarray(values.astype(np.uint8))

    return add
