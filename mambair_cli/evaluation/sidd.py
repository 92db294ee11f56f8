"""The validation blocks of SIDD, which lie in two MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mambair_cli.errors import ImageError, UsageError
from mambair_cli.evaluation.examples import Example, Pixels


def blocks_in(folder: Path) -> list[Example]:
    """Read SIDD's validation blocks: `(40 32 256 256 3)` uint8 in each of two MATLAB files.

    Raises:
        UsageError: A file is missing, or they do not belong together.
        ImageError: A file is damaged.
    """
    files = [folder / f"Validation{kind}BlocksSrgb.mat" for kind in ("Gt", "Noisy")]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder} has no {' and no '.join(missing)}",
            "fetch SIDD's validation blocks (sRGB) and give their folder with --data",
        )
    truths, noisy = (_read_blocks(path) for path in files)
    if truths.shape != noisy.shape:
        raise UsageError(
            f"{files[0]} has blocks {truths.shape}, {files[1]} {noisy.shape}", "fetch both again"
        )
    return [
        Example(
            f"{image + 1:02}-{block + 1:02}",
            tuple(files),
            lambda at=(image, block): truths[at],  # type: ignore[misc]
            lambda at=(image, block): noisy[at],  # type: ignore[misc]
        )
        for image in range(truths.shape[0])
        for block in range(truths.shape[1])
    ]


def _read_blocks(path: Path) -> Pixels:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise UsageError(
            f"{path} cannot be read without SciPy", "install it: pip install 'mambair[bench]'"
        ) from error
    name = path.stem
    try:
        blocks = loadmat(path, variable_names=[name]).get(name)
    except (MatReadError, ValueError, OSError, NotImplementedError, TypeError) as error:
        raise ImageError(f"{path} is damaged: {error}", "fetch it again") from error
    if blocks is None or blocks.ndim != 5 or blocks.dtype != np.uint8:
        raise ImageError(f"{path} holds no blocks named {name}", "fetch it again")
    return np.asarray(blocks)
