"""A page to look at: scores, plots, and every image beside others, in one file without network."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.evaluation.benchmark import Pictures
from mambair_cli.evaluation.results import Run, conditions, facts
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.pixels.resize import imresize
from mambair_cli.plain_json import finite

Pixels = NDArray[np.uint8]

INPUT, REFERENCE = "input", "reference"
# Browsers load a page of this size; pictures beyond are compressed with loss, and the page says so.
LOSSLESS_BYTES = 100 * 2**20
LOSSY_QUALITY = 90
# WebP's own limit.
LARGEST_SIDE = 16383


@dataclass
class Picture:
    """One image of the page.

    Attributes:
        group: The set that it is from, or the name of the page's only group.
        name: Of the image.
        width: Pixels of every layer.
        height: Pixels of every layer.
        layers: Label to the layer's file, as a `data:` address.
    """

    group: str
    name: str
    width: int
    height: int
    layers: dict[str, str] = field(default_factory=dict)


class Page:
    """Collects pictures while they are made, and renders them with their scores.

    Args:
        title: Of the page.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._pictures: dict[tuple[str, str, int, int], Picture] = {}
        self._bytes = 0
        self._lossy = False

    def add(self, group: str, name: str, label: str, scale: int, pictures: Pictures) -> None:
        """Add what one model made of one image of a set.

        Args:
            group: The set.
            name: Of the image.
            label: The model.
            scale: Output side over input side.
            pictures: Input, result and reference.
        """
        low = imresize(pictures.low, scale)
        for layer, pixels in (
            (INPUT, low),
            (label, pictures.restored),
            (REFERENCE, pictures.truth),
        ):
            self.add_layer(group, name, layer, pixels)

    def add_restored(
        self, name: str, label: str, scale: int, source: RestorableImage, restored: RestorableImage
    ) -> None:
        """Add what one model made of an image that has no reference.

        Args:
            name: Of the image.
            label: The model.
            scale: Output side over input side.
            source: The image.
            restored: The model's result.
        """
        self.add_layer("", name, INPUT, imresize(in_8_bits(source), scale))
        self.add_layer("", name, label, in_8_bits(restored))

    def add_layer(self, group: str, name: str, label: str, pixels: Pixels) -> None:
        """Add one view of an image, unless it is there already.

        Args:
            group: What the image belongs to.
            name: Of the image.
            label: Of the view.
            pixels: `(h w c)`, gray or RGB. Views of another size make another picture.
        """
        height, width = pixels.shape[:2]
        key = (group, name, width, height)
        picture = self._pictures.setdefault(key, Picture(group, name, width, height))
        if label not in picture.layers:
            picture.layers[label] = self._encoded(pixels)

    def render(self, runs: Sequence[Run] = ()) -> str:
        """Write the page.

        Args:
            runs: What was measured; none for a page of pictures only.

        Returns:
            HTML, with everything that it needs inside.
        """
        return _template().render(
            title=self._title,
            version=version("mambair"),
            date=datetime.now(UTC).date().isoformat(),
            lossy=self._lossy,
            conditions=conditions(runs),
            sets=_sets(runs),
            data=finite(
                {
                    "runs": [facts(run) for run in runs],
                    "points": _points(runs),
                    "images": _images(runs),
                    "pictures": [_in_order(picture) for picture in self._pictures.values()],
                    "input": INPUT,
                    "reference": REFERENCE,
                }
            ),
        )

    def _encoded(self, pixels: Pixels) -> str:
        values = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        lossless = self._bytes < LOSSLESS_BYTES
        self._lossy |= not lossless
        stream = io.BytesIO()
        form = "WEBP" if max(pixels.shape[:2]) <= LARGEST_SIDE else "PNG"
        options: dict[str, Any] = {"lossless": lossless, "quality": LOSSY_QUALITY, "method": 2}
        Image.fromarray(values).save(stream, form, **(options if form == "WEBP" else {}))
        self._bytes += len(stream.getvalue())
        content = base64.b64encode(stream.getvalue()).decode()
        return f"data:image/{form.lower()};base64,{content}"


@functools.cache
def _template() -> jinja2.Template:
    text = resources.files("mambair_cli.evaluation").joinpath("page.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.from_string(text)


def _in_order(picture: Picture) -> dict[str, Any]:
    """Put the reference of a picture last, behind all that is compared with it."""
    layers = sorted(picture.layers.items(), key=lambda layer: layer[0] == REFERENCE)
    return {**vars(picture), "layers": dict(layers)}


def _sets(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Make the table of each set: what was measured among what is published, best last."""
    tables: list[dict[str, Any]] = []
    for name in dict.fromkeys(run.result.dataset for run in runs):
        here = [run for run in runs if run.result.dataset == name]
        rows = [{"ours": True, **facts(run), "method": run.label} for run in here]
        peers = {id(row): row for run in here for row in run.peers}
        rows += [
            {
                "ours": False,
                "method": row.method,
                "psnr": row.psnr[name],
                "ssim": row.ssim.get(name),
                "parameters": row.parameters,
                "reported_by": row.source,
            }
            for row in peers.values()
        ]
        tables.append({"name": name, "rows": sorted(rows, key=lambda row: float(row["psnr"]))})
    return tables


def _points(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Collect what the plots show: PSNR over parameters, and over seconds an image if measured."""
    points = []
    for table in _sets(runs):
        for row in table["rows"]:
            seconds = row["seconds"] / row["images"] if row["ours"] else None
            points.append(
                {
                    "set": table["name"],
                    "label": row["method"],
                    "ours": row["ours"],
                    "psnr": row["psnr"],
                    "parameters": row["parameters"],
                    "seconds": seconds,
                }
            )
    return points


def _images(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [
        {
            "set": run.result.dataset,
            "image": image.name,
            "model": run.label,
            "psnr": image.restored.psnr,
            "ssim": image.restored.ssim,
            "gain": image.restored.psnr - image.unrestored.psnr,
            "seconds": image.seconds,
            "size": f"{image.width}x{image.height}",
        }
        for run in runs
        for image in run.result.images
    ]
