from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mambair_cli.errors import BackendError
from mambair_cli.networks import MambaIR, MambaIRConfig, MambaIRv2Config, build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.training.config import OptimTable
from mambair_cli.training.data import Batch
from mambair_cli.training.loop import Trainer
from mambair_cli.training.optimizers import Optimizer

RATE = 1e-3


def _network() -> MambaIR:
    torch.manual_seed(0)
    config = MambaIRConfig(upscale=2, embed_dim=32, depths=(1,), d_state=4)
    network = MambaIR(config)
    set_scan_backend(network, "reference")
    return network


def test_tables_that_are_looked_up_are_no_products_for_muon() -> None:
    config = MambaIRv2Config(
        upscale=2, embed_dim=8, depths=(1,), num_heads=(2,), d_state=4, window_size=4,
        inner_rank=3, num_tokens=5,
    )  # fmt: skip
    moved = []
    for name in ("muon", "adam"):
        torch.manual_seed(0)
        moved.append(_moved(build_network(config), OptimTable(optimizer=name)))
    muon, adam = moved
    alike = {name for name, change in muon.items() if torch.equal(change, adam[name])}
    tables = ("relative_position_bias_table", "embeddingA.weight", "embeddingB.weight")
    assert sum(name.endswith(tables) for name in alike) == len(tables)
    assert sum(name.endswith("wqkv.weight") for name in muon.keys() - alike) == 1


def _gradients(network: nn.Module, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def _moved(network: nn.Module, optim: OptimTable) -> dict[str, torch.Tensor]:
    before = copy.deepcopy(network.state_dict())
    _gradients(network)
    Optimizer(network, optim).step(RATE)
    return {name: value - before[name] for name, value in network.state_dict().items()}


def test_muon_steps_are_orthogonal_and_as_long_as_those_of_adam() -> None:
    moved = _moved(_network(), OptimTable(optimizer="muon"))
    inside = "layers.0.residual_group.blocks.0."
    for name, matrix in (
        ("in_proj", moved[inside + "self_attention.in_proj.weight"]),
        ("direction", moved[inside + "self_attention.x_proj_weight"][2]),
        ("kernel", moved[inside + "conv_blk.cab.0.weight"].flatten(1)),
    ):
        values = torch.linalg.svdvals(matrix) / (RATE * 0.2 * max(matrix.shape) ** 0.5)
        assert 0.5 < values.min() < values.max() < 1.5, name
        assert matrix.square().mean().sqrt() == pytest.approx(0.2 * RATE, rel=0.3)


def test_under_muon_adam_moves_the_ends_the_vectors_and_the_scan() -> None:
    muon, adam = (_moved(_network(), OptimTable(optimizer=name)) for name in ("muon", "adam"))
    alike = {name for name, change in muon.items() if torch.equal(change, adam[name])}
    inside = "layers.0.residual_group.blocks.0."
    assert {"conv_first.weight", "upsample.0.weight", inside + "ln_1.weight"} <= alike
    assert {inside + "self_attention." + name for name in ("A_logs", "Ds", "dt_projs_bias")} < alike
    assert inside + "self_attention.conv2d.weight" in alike, "a depth-wise kernel mixes nothing"
    different = muon.keys() - alike
    assert inside + "self_attention.dt_projs_weight" in different
    assert "layers.0.conv.weight" in different


def test_weight_decay_spares_vectors() -> None:
    for name in ("adam", "muon"):
        network = _network()
        for parameter in network.parameters():
            parameter.data.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
        Optimizer(network, OptimTable(optimizer=name, weight_decay=0.1)).step(RATE)
        for key, value in network.named_parameters():
            spared = value.ndim < 2 or key.endswith(("A_logs", "dt_projs_bias"))
            expected = 1.0 if spared else 1 - 0.1 * RATE
            assert torch.allclose(value, torch.tensor(expected), atol=1e-7), (name, key)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_a_restored_optimizer_takes_the_same_steps(name: str) -> None:
    networks = first, second = _network(), _network()
    trainers = [Trainer(network, OptimTable(optimizer=name, warmup=0)) for network in networks]
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 3, 6, 5, generator=generator)
    batch = Batch(low, low.repeat_interleave(2, -1).repeat_interleave(2, -2) * 0.5)
    losses = [trainers[0].step(batch, i).loss.item() for i in range(4)]
    assert losses[-1] < losses[0]
    trainers[1].load_state_dict(copy.deepcopy(trainers[0].state_dict()))
    for i in (4, 5):
        one, other = (trainer.step(batch, i).loss.item() for trainer in trainers)
        assert one == other
    for (key, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other), key


def test_a_pytorch_without_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    Optimizer(_network(), OptimTable(optimizer="adam"))
    with pytest.raises(BackendError, match=r"has no Muon optimizer$") as caught:
        Optimizer(_network(), OptimTable(optimizer="muon"))
    assert caught.value.hint is not None
    assert "torch 2.9" in caught.value.hint
