"""A teacher: trained weights whose results, averaged over orientations, a network is to match."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.errors import RecipeError
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.ensemble import MEMBERS, inverse, transform
from mambair_cli.training.config import DistillationTable, Recipe
from mambair_cli.training.data import Batch


class Teacher:
    """Restores the samples of a batch with frozen weights, in some of the eight orientations.

    The mean over all eight is MambaIR+ (paper, section 4.1); a few of them, drawn anew for each
    iteration, have that mean as their expectation and cost less.

    Args:
        network: The network, in evaluation mode; it is not trained.
        table: The recipe's `distillation` table.
        seed: Decides, with the iteration, which orientations.

    Attributes:
        weight: Share of the loss that compares with the teacher.
    """

    def __init__(self, network: nn.Module, table: DistillationTable, seed: int) -> None:
        self.weight = table.weight
        self._network = network
        self._members = table.members
        self._seed = seed

    @torch.no_grad()
    def __call__(self, batch: Batch, iteration: int) -> Tensor:
        """Restore the inputs `(b c h w)` of a batch to `(b c h*s w*s)` float32."""
        drawn = np.random.default_rng([self._seed, iteration]).permutation(MEMBERS)
        upright = [
            inverse(self._network(transform(batch.low, member)).float(), member)
            for member in drawn[: self._members].tolist()
        ]
        return torch.stack(upright).mean(0)


class KeptTeacher:
    """A teacher whose results are kept as files and come with the samples.

    Args:
        table: The recipe's `distillation` table.

    Attributes:
        weight: Share of the loss that compares with the teacher.
    """

    def __init__(self, table: DistillationTable) -> None:
        self.weight = table.weight

    def __call__(self, batch: Batch, _: int) -> Tensor:
        """Return what came with a batch, `(b c h*s w*s)` float32."""
        assert batch.taught is not None
        return batch.taught


AnyTeacher: TypeAlias = Teacher | KeptTeacher


def load_teacher(recipe: Recipe, device: torch.device, scan: str) -> AnyTeacher | None:
    """Load the teacher of a recipe onto its device; None if the recipe names none.

    Raises:
        CheckpointError: Its weights cannot be had or read.
        RecipeError: It enlarges otherwise than the recipe's network, or has other channels.
        BackendError: The scan backend cannot run here.
    """
    table = recipe.distillation
    if table.folder is not None:
        return KeptTeacher(table)
    if table.teacher is None:
        return None
    loaded = load_checkpoint(resolve(table.teacher))
    for name, theirs, ours in (
        ("scale", loaded.spec.scale, recipe.network.scale),
        ("channels", loaded.spec.channels, recipe.network.channels),
    ):
        if theirs != ours:
            raise RecipeError(
                f"distillation.teacher = {table.teacher!r} has {name} {theirs}, the network {ours}",
                "name weights for the same task, or leave distillation out",
            )
    network = loaded.network.to(device)
    set_scan_backend(network, scan)
    return Teacher(network, table, recipe.run.seed)
