"""Makes cat.png, the input of the examples, from a photograph that ships with scikit-image.

The photograph is "Chelsea" by Stefan van der Walt, released under CC0. It is halved in size, which
leaves a sharp image as small as those that super-resolution is asked to enlarge.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from skimage import data

photograph = Image.fromarray(data.chelsea())
width, height = photograph.width // 2, photograph.height // 2
small = photograph.resize((width, height), Image.Resampling.BICUBIC)
small.save(Path(__file__).with_name("cat.png"), optimize=True)
