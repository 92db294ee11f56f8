"""Networks as ncnn holds them, run by PyTorch: a peer that else needs a GPU with Vulkan.

Knows the layers that waifu2x's networks are made of, and weights of 16 and 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

HALF_PRECISION = 0x01306B47
MAGIC = "7767517"

Parameters = dict[int, Any]
Layer = Callable[[list[Tensor]], Tensor]


class Network:
    """A network, read from its `.param` file and the `.bin` file beside it."""

    def __init__(self, path: Path) -> None:
        magic, _, *lines = path.read_text().splitlines()
        if magic != MAGIC:
            raise ValueError(f"{path} is no network of ncnn")
        weights = _Weights(path.with_suffix(".bin").read_bytes())
        self._steps: list[tuple[Layer | None, list[str], list[str]]] = []
        for line in lines:
            kind, _, inputs, outputs, *rest = line.split()
            taken, made = rest[: int(inputs)], rest[int(inputs) : int(inputs) + int(outputs)]
            settings = _settings(rest[int(inputs) + int(outputs) :])
            if kind == "Input":
                self._input = made[0]
            else:
                self._steps.append((_layer(kind, settings, weights), taken, made))

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Run on `(b c h w)`."""
        values, result = {self._input: image}, image
        for layer, taken, made in self._steps:
            inputs = [values[name] for name in taken]
            result = inputs[0] if layer is None else layer(inputs)
            values.update(dict.fromkeys(made, result))
        return result


class _Weights:
    """The values of a `.bin` file, in the order of the layers."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def plain(self, count: int) -> Tensor:
        return self._take(count, np.dtype("<f4"))

    def tagged(self, count: int) -> Tensor:
        tag = int(self._take(1, np.dtype("<u4")).item())
        return self._take(count, np.dtype("<f2" if tag == HALF_PRECISION else "<f4"))

    def _take(self, count: int, kind: np.dtype[Any]) -> Tensor:
        values: NDArray[Any] = np.frombuffer(self._content, kind, count, self._position)
        self._position += -(-values.nbytes // 4) * 4
        return torch.from_numpy(values.astype(np.int64 if kind.kind == "u" else np.float32))


def _settings(words: list[str]) -> Parameters:
    """Parse `key=value`; keys below -23300 hold a list that begins with its length."""
    found: Parameters = {}
    for word in words:
        key, value = word.split("=")
        if int(key) <= -23300:
            found[-23300 - int(key)] = [float(item) for item in value.split(",")[1:]]
        else:
            found[int(key)] = int(value)
    return found


def _activation(settings: Parameters) -> Callable[[Tensor], Tensor]:
    """Return what follows a layer: nothing, ReLU, leaky ReLU or a sigmoid."""
    slope = settings.get(10, [0.0])[0]
    return {
        0: lambda x: x,
        1: torch.relu,
        2: lambda x: functional.leaky_relu(x, slope),
        4: torch.sigmoid,
    }[settings.get(9, 0)]


def _cropped(x: list[Tensor], left: int, top: int) -> Tensor:
    height, width = x[1].shape[2:]
    return x[0][..., top : top + height, left : left + width]


def _layer(kind: str, settings: Parameters, weights: _Weights) -> Layer | None:
    """Make what a layer does; None where it hands on its input."""
    if kind in ("Convolution", "Deconvolution"):
        return _convolution(settings, weights, transposed=kind == "Deconvolution")
    if kind == "InnerProduct":
        return _product(settings, weights)
    simple: dict[str, Layer | None] = {
        "Split": None,
        "Pooling": lambda x: x[0].mean((2, 3), keepdim=True),
        "Scale": lambda x: x[0] * x[1],
        "Eltwise": lambda x: x[0] + x[1],
        "Crop": lambda x: _cropped(x, settings[0], settings[1]),
    }
    return simple[kind]


def _convolution(settings: Parameters, weights: _Weights, *, transposed: bool) -> Layer:
    outputs, side, stride, padding = (
        settings[0],
        settings[1],
        settings.get(3, 1),
        settings.get(4, 0),
    )
    kernel = weights.tagged(settings[6]).reshape(outputs, -1, side, side)
    bias = weights.plain(outputs)
    then = _activation(settings)
    if transposed:
        kernel = kernel.transpose(0, 1).contiguous()
        return lambda x: then(
            functional.conv_transpose2d(x[0], kernel, bias, stride=stride, padding=padding)
        )
    return lambda x: then(functional.conv2d(x[0], kernel, bias, stride=stride, padding=padding))


def _product(settings: Parameters, weights: _Weights) -> Layer:
    outputs = settings[0]
    matrix = weights.tagged(settings[2]).reshape(outputs, -1)
    bias = weights.plain(outputs)
    then = _activation(settings)
    return lambda x: then(functional.linear(x[0].flatten(1), matrix, bias))[..., None, None]
