from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from mambair_cli.networks import build_network
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config
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


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch on two threads, as it is on a machine with two processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


class _Watched(nn.Module):
    """A network that notes how many samples it is shown, in which thread, beside how many."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, set[tuple[int, bool, int]]()

    def forward(self, x: Tensor) -> Tensor:
        here = threading.current_thread() is threading.main_thread()
        self.seen.add((len(x), here, torch.get_num_threads()))
        restored: Tensor = self.network(x)
        return restored


def _gradients(samples: int, **changes: object) -> tuple[_Watched, float, list[Tensor]]:
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=1, embed_dim=16, d_state=2, depths=(1,), upsampler="")
    network = _Watched(build_network(config))
    trainer = Trainer(network, OptimTable(warmup=0, **changes))  # type: ignore[arg-type]
    trainer.set_scan_backend("numba")
    low = torch.rand(samples, 3, 9, 14)
    loss = trainer.step(Batch(low, low.square()), 0).loss.item()
    return network, loss, [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("samples", [2, 5])
def test_parts_of_a_batch_side_by_side_give_its_gradients(samples: int, loss: str) -> None:
    network, value, gradients = _gradients(samples, loss=loss)
    halves = {(samples - samples // 2, False, 1), (samples // 2, False, 1)}
    assert network.seen == halves
    torch.set_num_threads(1)
    network, expected, of_all = _gradients(samples, loss=loss)
    torch.set_num_threads(2)
    assert network.seen == {(samples, True, 1)}
    assert value == pytest.approx(expected, rel=1e-6)
    assert len(gradients) == len(of_all)
    for one, other in zip(gradients, of_all, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6 * float(of_all[-1].abs().max()))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_number_of_threads_gives_the_same_gradients_each_time(precision: str) -> None:
    first = _gradients(4, precision=precision)[2]
    for _ in range(2):
        assert all(map(torch.equal, first, _gradients(4, precision=precision)[2]))


@pytest.mark.usefixtures("two_threads")
def test_a_network_that_draws_at_random_sees_a_batch_as_a_whole() -> None:
    torch.manual_seed(0)
    config = MambaIRv2Config(upscale=1, embed_dim=16, d_state=2, depths=(1,), num_heads=(2,))
    network = _Watched(build_network(config))
    low = torch.rand(2, 3, 16, 32)
    Trainer(network, OptimTable()).step(Batch(low, low), 0)
    assert network.seen == {(2, True, 2)}
