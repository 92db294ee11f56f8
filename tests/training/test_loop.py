from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from mambair_cli.training.config import OptimTable
from mambair_cli.training.data import Batch
from mambair_cli.training.loop import Trainer, ema_decay, learning_rate
from mambair_cli.training.losses import LOSSES


def test_cosine_schedule_with_warmup() -> None:
    optim = OptimTable(learning_rate=1.0, final_learning_rate=0.1, iterations=110, warmup=10)
    assert learning_rate(optim, 0) == 0.1
    assert learning_rate(optim, 9) == 1.0
    assert learning_rate(optim, 10) == 1.0
    assert learning_rate(optim, 60) == pytest.approx(0.55)
    assert learning_rate(optim, 109) == pytest.approx(0.1, abs=1e-3)
    assert learning_rate(optim, 1000) == pytest.approx(0.1)


def test_step_schedule() -> None:
    optim = OptimTable(learning_rate=1.0, warmup=0, schedule="step", milestones=(5, 8), gamma=0.5)
    assert [learning_rate(optim, i) for i in (0, 4, 5, 7, 8)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_warmup_longer_than_the_training() -> None:
    optim = OptimTable(learning_rate=1.0, warmup=10, iterations=4)
    assert learning_rate(optim, 3) == 0.4


def test_average_forgets_the_start_early() -> None:
    optim = OptimTable(ema_decay=0.999)
    assert ema_decay(optim, 0) == 0.1
    assert ema_decay(optim, 10**6) == 0.999


def _batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(2, 3, 5, 7, generator=generator)
    return Batch(low, low * 0.5)


def _trainer(**changes: object) -> Trainer:
    torch.manual_seed(0)
    return Trainer(nn.Conv2d(3, 3, 3, padding=1), OptimTable(warmup=0, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_falls(loss: str, precision: str) -> None:
    trainer = _trainer(loss=loss, precision=precision, learning_rate=0.01)
    losses = [trainer.step(_batch(i), i).loss.item() for i in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in trainer.network.parameters())


def test_a_restored_trainer_takes_the_same_steps() -> None:
    first, second = _trainer(), _trainer()
    for i in range(3):
        first.step(_batch(i), i)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for i in range(3, 6):
        one, other = (trainer.step(_batch(i), i) for trainer in (first, second))
        assert one.loss.item() == other.loss.item()
    assert torch.equal(first.average.weight, second.average.weight)  # type: ignore[arg-type]


def test_the_average_follows_by_its_decay() -> None:
    trainer = _trainer(ema_decay=0.05)
    before = trainer.average.weight.clone()  # type: ignore[operator, union-attr]
    trainer.step(_batch(0), 0)
    expected = 0.05 * before + 0.95 * trainer.network.weight  # type: ignore[operator]
    assert torch.allclose(trainer.average.weight, expected)  # type: ignore[arg-type]
    assert not trainer.average.training


def test_the_gradient_is_clipped_but_its_norm_is_reported_before() -> None:
    trainer = _trainer(gradient_clip=1e-3)
    norm = trainer.step(_batch(0), 0).gradient_norm.item()
    clipped = math.hypot(*(p.grad.norm().item() for p in trainer.network.parameters()))
    assert norm > 0.01
    assert clipped == pytest.approx(1e-3, rel=1e-2)
