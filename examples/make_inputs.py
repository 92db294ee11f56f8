"""Makes the inputs of the examples from photographs that ship with scikit-image, both CC0.

"Chelsea", the cat, is by Stefan van der Walt; it is halved in size, which leaves a sharp image as
small as those that super-resolution is asked to enlarge. The coffee cup is by Rachel Michetti; a
part of it gets Gaussian noise of standard deviation 25, and JPEG compression of quality 10.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

FOLDER = Path(__file__).parent
CUP = (140, 10, 460, 250)  # left, top, right, bottom

cat = Image.fromarray(data.chelsea())
cat.resize((cat.width // 2, cat.height // 2), Image.Resampling.BICUBIC).save(
    FOLDER / "cat.png", optimize=True
)

cup = Image.fromarray(data.coffee()).crop(CUP)
noise = np.random.default_rng(1).normal(0, 25, (cup.height, cup.width, 3))
noisy = np.clip(np.rint(np.asarray(cup) + noise), 0, 255).astype(np.uint8)
Image.fromarray(noisy).save(FOLDER / "cup_noisy.png", optimize=True)
cup.save(FOLDER / "cup_q10.jpg", quality=10)
