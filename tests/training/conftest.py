from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TABLES: dict[str, Any] = {
    "model": {"id": "test-sr-x2", "task": "sr"},
    "network": {
        "upscale": 2,
        "embed_dim": 8,
        "depths": [1],
        "d_state": 2,
        "mlp_ratio": 1.5,
        "upsampler": "pixelshuffledirect",
    },
    "data": {"folders": ["images"], "patch": 8, "batch": 2},
    "optim": {"iterations": 6, "warmup": 2},
    "validation": {"folders": ["scored"], "every": 3},
    "run": {"seed": 3, "checkpoint_every": 4, "checkpoint_seconds": 0.0, "log_every": 1},
}


@pytest.fixture
def tables() -> dict[str, Any]:
    """A recipe that trains in well under a second, free to be changed."""
    return copy.deepcopy(TABLES)


def textured(height: int, width: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * a + y * b) for a, b in generator.uniform(0.05, 0.9, (3, 2))]
    noise = generator.normal(0, 4, (height, width, 3))
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Three training images (one gray, one too small for a patch) and one to score."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "scored").mkdir()
    Image.fromarray(textured(45, 70, 1)).save(root / "images" / "a.png")
    Image.fromarray(textured(33, 26, 2)[..., 0]).save(root / "images" / "b.png")
    Image.fromarray(textured(15, 90, 3)).save(root / "images" / "narrow.png")
    Image.fromarray(textured(30, 41, 4)).save(root / "scored" / "c.png")
    (root / "images" / "notes.txt").write_text("not an image")
    return root
