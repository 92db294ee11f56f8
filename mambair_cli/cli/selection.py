"""Which weights a restoring command uses, checked against what it was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages
from mambair_cli.errors import ImageError, UsageError

if TYPE_CHECKING:
    import torch

    from mambair_cli.api import Model
    from mambair_cli.imaging.files import RestorableImage
    from mambair_cli.networks.spec import ModelSpec, Task
    from mambair_cli.restoration.precision import Precision

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
        weights: Weights that the user named, a file or a model id.
    """

    task: Task
    scale: int | None = None
    sigma: float | None = None
    quality: int | None = None
    variant: str | None = None
    weights: str | None = None


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
        self._loaded: dict[str, Model] = {}
        self.single = None if self._chosen_by_file() else self._select(request)

    def _chosen_by_file(self) -> bool:
        from mambair_cli.checkpoints import catalogue
        from mambair_cli.checkpoints.choice import not_downloadable

        request = self._request
        if request.task != "dejpeg" or request.quality is not None or request.weights is not None:
            return False
        levels = [entry for entry in catalogue.entries() if entry.task == request.task]
        if not any(entry.bundled for entry in levels):
            raise not_downloadable(levels[0])
        return True

    def suited_to(self, image: RestorableImage) -> Model:
        """The weights for one image: the only ones, or those for the image's JPEG quality.

        Raises:
            ImageError: The file does not say with which JPEG quality it was saved.
            CheckpointError: The weights for its quality are not here.
        """
        if self.single is not None:
            return self.single
        quality = image.metadata.jpeg_quality
        if quality is None:
            raise ImageError(
                f"a {image.metadata.source_format} image does not say with which JPEG quality it "
                "was once saved",
                "give it: --quality 10, 30 or 40",
            )
        return self._select(replace(self._request, quality=quality))

    def _select(self, request: Request) -> Model:
        from mambair_cli.checkpoints.choice import choose

        if request.weights is not None:
            return self._load(request.weights, request)
        default = DEFAULT_SCALE if request.task == "sr" else None
        choice = choose(
            request.task,
            scale=default if request.scale is None else request.scale,
            sigma=request.sigma,
            quality=request.quality,
            variant=request.variant,
            device_type=self._device.type,
        )
        for notice in choice.notices:
            self._messages.notice(notice)
        return self._load(choice.entry.id, request)

    def _load(self, reference: str, request: Request) -> Model:
        from mambair_cli.api import load_model

        if reference not in self._loaded:
            model = load_model(reference, str(self._device), self._precision, self._scan)
            check_purpose(model.spec, request)
            for doubt in doubts(model.spec, request):
                self._messages.notice(f"warning: {doubt}", "yellow")
            self._messages.notice(f"model: {model.spec.id}")
            self._messages.detail(f"weights: {model.path}, sha256 {model.sha256}")
            self._loaded[reference] = model
        return self._loaded[reference]


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
