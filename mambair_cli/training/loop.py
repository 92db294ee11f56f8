"""One training step: loss, gradient, optimizer, and the running average of the weights."""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from mambair_cli.networks.attentive import AttentiveStateSpace
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.device.workers import side_by_side, workers_for
from mambair_cli.training.config import OptimTable
from mambair_cli.training.data import Batch
from mambair_cli.training.distillation import AnyTeacher
from mambair_cli.training.losses import LOSSES
from mambair_cli.training.optimizers import Optimizer


@dataclass(frozen=True)
class Step:
    """What one iteration gave: two scalars, still on the device so that nothing waits for them."""

    loss: Tensor
    gradient_norm: Tensor


def learning_rate(optim: OptimTable, iteration: int) -> float:
    """Compute the learning rate of an iteration from 0 on: linear warm-up, then cosine or steps."""
    if iteration < optim.warmup:
        return optim.learning_rate * (iteration + 1) / optim.warmup
    if optim.schedule == "step":
        passed = sum(milestone <= iteration for milestone in optim.milestones)
        return optim.learning_rate * optim.gamma**passed
    progress = (iteration - optim.warmup) / max(1, optim.iterations - optim.warmup)
    height = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    low = optim.final_learning_rate
    return low + (optim.learning_rate - low) * height


def ema_decay(optim: OptimTable, iteration: int) -> float:
    """Compute the decay of the averaged weights: low at first, to forget the random start soon."""
    return min(optim.ema_decay, (1 + iteration) / (10 + iteration))


Network = TypeVar("Network", bound=nn.Module)


class Trainer(Generic[Network]):
    """A network, the running average of its weights, and the optimizer.

    Args:
        network: The network, on its device; it is trained in place.
        optim: The recipe's `optim` table.
        teacher: Whose results the network is to match too, on the same device.
    """

    def __init__(
        self, network: Network, optim: OptimTable, teacher: AnyTeacher | None = None
    ) -> None:
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self._optim = optim
        self._loss = LOSSES[optim.loss]
        self._teacher = teacher
        self._parameters: list[Tensor] = list(network.parameters())
        self._averaged: list[Tensor] = list(self.average.parameters())
        self._device = self._parameters[0].device
        self._optimizer = Optimizer(network, optim)

    def set_scan_backend(self, name: str) -> str:
        """Have both networks scan with a backend, `auto` or named; return its name.

        Raises:
            BackendError: It cannot run here.
        """
        set_scan_backend(self.average, name)
        return set_scan_backend(self.network, name)

    def step(self, batch: Batch, iteration: int) -> Step:
        """Train on one batch.

        Args:
            batch: The samples.
            iteration: Counted from 0; decides the learning rate.

        Returns:
            The loss before the step, and the gradient's norm before clipping.
        """
        self.network.zero_grad(set_to_none=True)
        loss = self._backward(batch.to(self._device), iteration)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._optim.gradient_clip or math.inf)
        self._optimizer.step(learning_rate(self._optim, iteration))
        self._update_average(iteration)
        return Step(loss, norm.detach())

    def _backward(self, batch: Batch, iteration: int) -> Tensor:
        """Set the gradients of a batch; return its loss."""
        workers = self._workers(len(batch))
        if workers == 1:
            loss = self._loss_of(batch, iteration)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        def gradients_of(part: Batch) -> tuple[Tensor, ...]:
            loss = self._loss_of(part, iteration) * (len(part) / len(batch))
            gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
            return loss.detach(), *gradients

        parts = side_by_side(iter(batch.parts(workers)), gradients_of, workers)
        # In the order of the parts, whichever is done first.
        sums: list[Tensor] = [
            functools.reduce(torch.add, each) for each in zip(*parts, strict=True)
        ]
        for parameter, gradient in zip(self._parameters, sums[1:], strict=True):
            parameter.grad = gradient
        return sums[0]

    def _workers(self, samples: int) -> int:
        """Tell how many parts of a batch run side by side."""
        # What is drawn at random would go to whichever part comes first.
        draws = any(isinstance(each, AttentiveStateSpace) for each in self.network.modules())
        if draws or self._device.type != "cpu":
            return 1
        return workers_for(samples, torch.get_num_threads())

    def _loss_of(self, batch: Batch, iteration: int) -> Tensor:
        half = self._optim.precision == "bf16"
        # Casts are kept for all threads, and dropped when the first of them has no more use.
        autocast = torch.autocast(
            self._device.type, torch.bfloat16, enabled=half, cache_enabled=False
        )
        with autocast:
            restored = self.network(batch.low).float()
        loss = self._loss(restored, batch.high)
        if self._teacher is None:
            return loss
        with autocast:
            taught = self._teacher(batch, iteration)
        return torch.lerp(loss, self._loss(restored, taught), self._teacher.weight)

    @torch.no_grad()
    def _update_average(self, iteration: int) -> None:
        weight = 1 - ema_decay(self._optim, iteration)
        torch._foreach_lerp_(self._averaged, self._parameters, weight)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Collect everything that the next step depends on, beside the batch and the iteration."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
