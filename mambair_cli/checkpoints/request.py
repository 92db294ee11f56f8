"""What is asked to be restored, which weights that takes, and whether given ones can do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mambair_cli.checkpoints.choice import (
    REDUCED,
    Choice,
    blind_in_colour,
    choose,
    trained_levels,
)
from mambair_cli.checkpoints.load import require_scale
from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.networks.spec import ModelSpec, Task

    Wish = Task | Literal["fix"]

DEFAULT_SCALE = 4
# What `fix` was measured with, and promises never to make a photograph worse with.
FIX_VARIANT = "tiny"
# What is typed to have a task done.
COMMANDS: dict[Wish, str] = {
    "fix": "fix",
    "sr": "sr",
    "realsr": "realsr",
    "denoise": "denoise",
    "denoise-real": "denoise --real",
    "dejpeg": "dejpeg",
}


@dataclass(frozen=True)
class Request:
    """What is to be done to images, and with which weights.

    Attributes:
        task: What is restored; `fix` for what each image turns out to need.
        scale: Asked output side over input side; None for the default, of `fix` the same size. Of
            `realsr` a larger model may be chosen, whose results are to be reduced.
        sigma: Asked noise level on the 0-255 scale; None to measure it in each file.
        quality: Asked JPEG quality; None to read it from each file.
        variant: Variant of the model, or None for the best on the device.
        weights: Weights that the user named: a file, a model id or an `hf://` reference.
        channels: Of the image: 3 takes weights for colour where a task has some of its own; None
            where that is not known yet.

    Raises:
        UsageError: Weights are named for `fix`, which takes several.
    """

    task: Wish
    scale: int | None = None
    sigma: float | None = None
    quality: int | None = None
    variant: str | None = None
    weights: str | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.task == "fix" and self.weights is not None:
            raise UsageError(
                "fix takes several models, and --weights names one",
                "use it for its task, such as: mambair denoise --weights ...; or name a variant: "
                "--model tiny",
            )

    @property
    def by_file(self) -> bool:
        """Whether each file decides about its weights, by what it tells or what is measured."""
        return self.every_case() != [self]

    def choose(self, device_type: str) -> Choice:
        """Choose the model of a request that names no weights; nothing is fetched.

        Args:
            device_type: Device that will run it, as in `torch.device.type`.

        Raises:
            UsageError: There is no such model.
        """
        assert self.task != "fix"
        default = DEFAULT_SCALE if self.task in {"sr", "realsr"} else None
        return choose(
            self.task,
            scale=default if self.scale is None else self.scale,
            sigma=self.sigma,
            quality=self.quality,
            channels=self.channels or 1,
            variant=self.variant,
            device_type=device_type,
        )

    def every_case(self) -> list[Request]:
        """List the requests that files can turn this one into, one for each weights."""
        if self.weights is not None or self.channels is not None:
            return [self]
        if self.task == "fix":
            return [case for step in self.every_step() for case in step.every_case()]
        if self.task == "denoise" and self.sigma is None:
            return [replace(self, sigma=sigma) for sigma in trained_levels(self.task, "sigma")]
        if self.task == "dejpeg":
            qualities = [self.quality] if self.quality else trained_levels(self.task, "quality")
            cases = [replace(self, quality=quality) for quality in qualities]
            if blind_in_colour(self.task, self.variant):
                gray = [replace(case, channels=1) for case in cases]
                return [*gray, replace(cases[0], channels=3)]
            return cases
        return [self]

    def every_step(self) -> list[Request]:
        """List what `fix` may do to an image, in its order."""
        variant = self.variant or FIX_VARIANT
        mending: tuple[Task, ...] = ("dejpeg", "denoise", "denoise-real")
        steps = [Request(task, variant=variant) for task in mending]
        if self.scale is not None:
            enlarging: tuple[Task, ...] = ("sr", "realsr")
            steps += [Request(task, self.scale, variant=variant) for task in enlarging]
        return steps

    @staticmethod
    def before(spec: ModelSpec) -> Request | None:
        """Return what is done to files that need it before such weights are used, if anything."""
        return None if spec.after is None else Request(spec.after, variant=FIX_VARIANT)

    def check(self, spec: ModelSpec) -> None:
        """Refuse weights that cannot do what was asked for.

        Raises:
            UsageError: They enlarge where nothing is to be enlarged, or the reverse, or by another
                scale; a larger one may have been chosen where results are reduced.
        """
        if (self.task in {"sr", "realsr"}) != (spec.scale > 1):
            does = f"enlarges {spec.scale} times" if spec.scale > 1 else "does not enlarge"
            raise UsageError(
                f"{spec.id} {does}: it cannot be used by mambair {COMMANDS[self.task]}",
                f"use it with: mambair {COMMANDS[spec.task]} --weights {self.weights}",
            )
        may_be_larger = self.weights is None and self.task in REDUCED
        if self.scale is not None and not (may_be_larger and spec.scale > self.scale):
            require_scale(spec, self.scale)

    def doubts(self, spec: ModelSpec) -> list[str]:
        """List what speaks against weights that can be used all the same, a line each."""
        found = []
        if spec.task != self.task:
            found.append(f"{spec.id} looks like weights for mambair {COMMANDS[spec.task]}")
        if self.weights is not None:
            for name, trained, asked in (
                ("sigma", spec.sigma, self.sigma),
                ("quality", spec.quality, self.quality),
            ):
                if trained is not None and asked is not None and trained != asked:
                    found.append(f"{spec.id} was trained for {name} {trained}, not {asked:g}")
        return found
