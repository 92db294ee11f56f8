"""Memory over a long batch, measured on this process."""

from __future__ import annotations

import gc

import psutil
import pytest
from image_files import image_files

PARTS, IMAGES = 5, 100
MEBIBYTE = 2**20


@pytest.mark.slow
def test_memory_stays_flat_over_a_batch_of_500_images(mambair, weights, tmp_path):
    """Images of every kind and a few damaged ones; caches fill in the first hundred."""
    files = [file for file in image_files() if len(file.frames) == 1]
    held = []
    for part in range(PARTS):
        folder = tmp_path / f"in {part}"
        folder.mkdir()
        for number in range(IMAGES):
            file = files[number % len(files)]
            content = file.make()
            path = folder / f"{number}{file.suffix}"
            path.write_bytes(content[:-100] if number % 20 == 7 else content)
        outcome = mambair(
            *("denoise", folder, "-o", tmp_path / f"out {part}", "-q", "--format", "tif"),
            *("--weights", weights / "denoise-s25.safetensors", "--name", "{stem} {ext}.{ext}"),
        )
        assert outcome.status == 1
        assert len(outcome.lines) == IMAGES - 5
        gc.collect()
        held.append(psutil.Process().memory_info().rss / MEBIBYTE)
    assert held[-1] - held[0] < 30, held
