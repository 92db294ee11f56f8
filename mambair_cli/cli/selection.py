"""Which weights a restoring command uses, checked against what it was asked to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mambair_cli.cli.compute import prepare_network
from mambair_cli.cli.console import Messages
from mambair_cli.cli.download import DownloadDisplay
from mambair_cli.errors import ImageError, UsageError

if TYPE_CHECKING:
    import torch

    from mambair_cli.api import Model
    from mambair_cli.checkpoints.choice import Choice
    from mambair_cli.imaging.image import BandReader, RestorableImage
    from mambair_cli.networks.spec import ModelSpec, Task
    from mambair_cli.restoration.device.precision import Precision

DEFAULT_SCALE = 4
COMMANDS = {
    "sr": "sr",
    "realsr": "realsr",
    "denoise": "denoise",
    "denoise-real": "denoise --real",
    "dejpeg": "dejpeg",
}


@dataclass(frozen=True)
class Request:
    """What a command was asked to do.

    Attributes:
        task: What is restored.
        scale: Asked output side over input side; None for the default.
        sigma: Asked noise level on the 0-255 scale.
        quality: Asked JPEG quality; None to read it from each file.
        variant: Variant of the model, or None for the best on the device.
        weights: Weights that the user named: a file, a model id or an `hf://` reference.
    """

    task: Task
    scale: int | None = None
    sigma: float | None = None
    quality: int | None = None
    variant: str | None = None
    weights: str | None = None

    @property
    def by_file(self) -> bool:
        """Whether each file decides about its weights, by the JPEG quality that it tells."""
        return self.task == "dejpeg" and self.quality is None and self.weights is None


def choose_for(request: Request, device: torch.device) -> Choice:
    """Choose the model of a request that names no weights; nothing is fetched.

    Raises:
        UsageError: There is no such model.
    """
    from mambair_cli.checkpoints.choice import choose

    default = DEFAULT_SCALE if request.task == "sr" else None
    return choose(
        request.task,
        scale=default if request.scale is None else request.scale,
        sigma=request.sigma,
        quality=request.quality,
        variant=request.variant,
        device_type=device.type,
    )


class ModelShelf:
    """The weights of one run, each loaded once, on their device, with their scan backend.

    Args:
        request: What is to be done.
        device: Where the networks run.
        precision: Number format that they run in.
        scan: Name of the scan backend.
        messages: Told of choices that the user should know.
    """

    def __init__(
        self,
        request: Request,
        device: torch.device,
        precision: Precision,
        scan: str,
        messages: Messages,
    ) -> None:
        self._request = request
        self._device = device
        self._precision = precision
        self._scan = scan
        self._messages = messages
        self._loaded: dict[Path, Model] = {}
        self._digests: dict[Path, str] = {}
        self._obtaining = threading.Lock()
        self.single = None if request.by_file else self._select(request)

    def suited_to(self, image: RestorableImage | BandReader) -> Model:
        """The weights for one image: the only ones, or those for the image's JPEG quality.

        Raises:
            ImageError: The file does not say with which JPEG quality it was saved.
            CheckpointError: The weights for its quality cannot be had.
        """
        if self.single is not None:
            return self.single
        metadata = image.metadata
        named = f"a {metadata.source_format} image"
        return self._select(self._request_for(named, metadata.jpeg_quality))

    def digest_for(self, path: Path) -> str:
        """The sha256 of the weights that are `suited_to` the image in a file; none are loaded.

        Raises:
            ImageError: The file does not say with which JPEG quality it was saved.
            CheckpointError: The weights for its quality cannot be had.
        """
        if self.single is not None:
            return self.single.sha256
        from mambair_cli.disk import sha256_of
        from mambair_cli.imaging.metadata.jpeg_quality import read_jpeg_quality

        # Files are read by several threads.
        with self._obtaining:
            weights = self._obtain(self._request_for(str(path), read_jpeg_quality(path)))
            if weights not in self._digests:
                self._digests[weights] = sha256_of(weights)
            return self._digests[weights]

    def warn_of_photograph(self, spec: ModelSpec, image: RestorableImage) -> str | None:
        """Warn, once a run, that weights trained on clean images meet the traces of a camera.

        Returns:
            What was found in this image; None where nothing speaks against the weights.
        """
        if spec.task != "sr":
            return None
        from mambair_cli.imaging.writing.depth import in_8_bits
        from mambair_cli.pixels.traces import measure_traces

        traces = measure_traces(in_8_bits(image))
        if traces.found is None:
            return None
        warn_of_traces(traces.found, spec.id, self._messages)
        return f"{traces.found}: blocking {traces.blocking:.2f}, noise {traces.noise:.1f}"

    def _request_for(self, image: str, quality: int | None) -> Request:
        if quality is None:
            raise ImageError(
                f"{image} does not say with which JPEG quality it was once saved",
                "give it: --quality 10, 30 or 40",
            )
        return replace(self._request, quality=quality)

    def _select(self, request: Request) -> Model:
        return self._load(self._obtain(request), request)

    def _obtain(self, request: Request) -> Path:
        from mambair_cli.checkpoints.obtain import obtain, resolve

        download = DownloadDisplay(self._messages)
        if request.weights is not None:
            return resolve(request.weights, download)
        choice = choose_for(request, self._device)
        for notice in choice.notices:
            self._messages.notice(notice)
        path, stands_in = obtain(choice, download)
        if stands_in is not None:
            self._messages.notice(stands_in, "yellow")
        return path

    def _load(self, path: Path, request: Request) -> Model:
        from mambair_cli.api import load_model

        if path not in self._loaded:
            model = load_model(path, str(self._device), self._precision, self._scan)
            check_purpose(model.spec, request)
            for doubt in doubts(model.spec, request):
                self._messages.notice(f"warning: {doubt}", "yellow")
            self._messages.notice(f"model: {model.spec.id}")
            self._messages.detail(f"weights: {model.path}, sha256 {model.sha256}")
            prepare_network(model, self._messages)
            self._loaded[path] = model
        return self._loaded[path]


def warn_of_traces(found: str, model: str, messages: Messages) -> None:
    """Warn that weights trained on clean images meet the traces of a camera."""
    messages.notice(
        f"warning: there are traces of a photograph ({found}), and {model} was trained on clean "
        "images: it keeps them, and the rest may look just blurry",
        "yellow",
    )
    messages.notice("hint: photographs are enlarged by: mambair realsr", "yellow")


def check_purpose(spec: ModelSpec, request: Request) -> None:
    """Refuse weights that cannot do what was asked for.

    Raises:
        UsageError: They enlarge where nothing is to be enlarged, or the reverse, or by another.
    """
    from mambair_cli.checkpoints.load import require_scale

    if (request.task in {"sr", "realsr"}) != (spec.scale > 1):
        does = f"enlarges {spec.scale} times" if spec.scale > 1 else "does not enlarge"
        raise UsageError(
            f"{spec.id} {does}: it cannot be used by mambair {COMMANDS[request.task]}",
            f"use it with: mambair {COMMANDS[spec.task]} --weights {request.weights}",
        )
    if request.scale is not None:
        require_scale(spec, request.scale)


def doubts(spec: ModelSpec, request: Request) -> list[str]:
    """What speaks against weights that can be used all the same, a line each."""
    found = []
    if spec.task != request.task:
        found.append(f"{spec.id} looks like weights for mambair {COMMANDS[spec.task]}")
    if request.weights is not None:
        for name, trained, asked in (
            ("sigma", spec.sigma, request.sigma),
            ("quality", spec.quality, request.quality),
        ):
            if trained is not None and asked is not None and trained != asked:
                found.append(f"{spec.id} was trained for {name} {trained}, not {asked:g}")
    return found
