"""Metrics beside PSNR and SSIM, such as LPIPS and DISTS, from the package pyiqa."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mambair_cli.errors import BackendError, UsageError


@dataclass(frozen=True)
class Metric:
    """One further metric.

    Attributes:
        name: As pyiqa calls it.
        measure: Maps a result `(h w c)` float32 in [0, 1] and its reference `(h w c)` uint8 to the
            value; metrics without a reference do not look at it.
    """

    name: str
    measure: Callable[[NDArray[np.float32], NDArray[np.uint8]], float]


def load_metric(name: str, device: torch.device) -> Metric:
    """Load a metric; its weights may be fetched by pyiqa.

    Args:
        name: As pyiqa calls it: `lpips`, `dists`, `niqe`, ...
        device: Where it runs.

    Returns:
        The metric, on RGB.

    Raises:
        UsageError: There is no such metric.
        BackendError: pyiqa is not installed.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise BackendError(
            f"--metric {name} needs the package pyiqa, which is not installed",
            "install it: pip install 'mambair[iqa]'",
        ) from error
    known = pyiqa.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or known
        raise UsageError(f"unknown metric {name!r}", f"choose one of: {', '.join(close)}")
    model = pyiqa.create_metric(name, device=device)
    needs_reference = model.metric_mode == "FR"

    def measure(restored: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
        images = [restored]
        if needs_reference:
            images.append(truth.astype(np.float32) / np.float32(255))
        with torch.inference_mode():
            return float(model(*(_rgb(image, device) for image in images)).mean())

    return Metric(name, measure)


def _rgb(image: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    planes = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(device)
    return planes.expand(-1, 3, -1, -1) if planes.shape[1] == 1 else planes
