"""What moves the weights: Adam, or Muon for the matrices inside the network beside Adam."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mambair_cli.errors import BackendError
from mambair_cli.training.config import OptimTable

# What meets pixels, and what is no weight of a product: Adam moves it under Muon too.
ENDS = ("conv_first.", "conv_last.", "patch_embed.", "upsample.", "output.")
SCAN_VECTORS = ("A_logs", "dt_projs_bias")
# Whose rows are looked up, or are prompts, one for each class: no products of features.
TABLES = ("relative_position_bias_table", "embeddingA.weight", "embeddingB.weight")


class Optimizer:
    """Moves all weights of a network by their gradients, each by the rule that suits it.

    Args:
        network: The network, on its device.
        optim: The recipe's `optim` table.

    Raises:
        BackendError: Muon is asked for and this PyTorch has none.
    """

    def __init__(self, network: nn.Module, optim: OptimTable) -> None:
        named = dict(network.named_parameters())
        inside = optim.optimizer == "muon"
        self._matrices = {
            parameter: [nn.Parameter(matrix) for matrix in _matrices(parameter.detach())]
            for name, parameter in named.items()
            if inside and _is_inside(name, parameter)
        }
        others = {name: p for name, p in named.items() if p not in self._matrices}
        beta1, beta2 = optim.betas
        # AdamW without decay is Adam.
        self._rules: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                _decayed_and_spared(others, optim.weight_decay),
                lr=optim.learning_rate,
                betas=(beta1, beta2),
                fused=all(p.device.type in ("cpu", "cuda") for p in named.values()),
            )
        ]
        if self._matrices:
            self._rules.append(_muon([m for ms in self._matrices.values() for m in ms], optim))

    def step(self, learning_rate: float) -> None:
        """Move the weights once."""
        for parameter, matrices in self._matrices.items():
            assert parameter.grad is not None
            for matrix, gradient in zip(matrices, _matrices(parameter.grad), strict=True):
                matrix.grad = gradient
        for rule in self._rules:
            for group in rule.param_groups:
                group["lr"] = learning_rate
            rule.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Collect everything that the next step depends on, beside weights and gradients."""
        return [rule.state_dict() for rule in self._rules]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Go on from a state that `state_dict` gave."""
        for rule, kept in zip(self._rules, state, strict=True):
            rule.load_state_dict(kept)


def _muon(matrices: list[Tensor], optim: OptimTable) -> torch.optim.Optimizer:
    """Orthogonalise momentum to the length of a step of Adam (Jordan 2024; Liu et al. 2025)."""
    if not hasattr(torch.optim, "Muon"):
        raise BackendError(
            f"PyTorch {torch.__version__} has no Muon optimizer",
            'install torch 2.9 or newer, or set optim.optimizer = "adam"',
        )
    return torch.optim.Muon(
        matrices,
        lr=optim.learning_rate,
        weight_decay=optim.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )


def _is_vector(name: str, parameter: Tensor) -> bool:
    return parameter.ndim < 2 or name.endswith(SCAN_VECTORS)


def _is_inside(name: str, parameter: Tensor) -> bool:
    """Tell whether a weight is a product of many inputs and outputs, between the network's ends."""
    if _is_vector(name, parameter) or name.startswith(ENDS) or name.endswith(TABLES):
        return False
    return min(_matrices(parameter)[0].shape) > 1 and parameter.shape[1] > 1


def _matrices(parameter: Tensor) -> list[Tensor]:
    """View a weight as matrices: one, one for each direction of the scan, or a flat kernel."""
    if parameter.ndim == 3:
        return list(parameter)
    return [parameter.view(len(parameter), -1)]


def _decayed_and_spared(named: dict[str, nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Decay matrices and kernels, not vectors, nor the scan's `A`, where zero is not neutral."""
    vectors = [p for name, p in named.items() if _is_vector(name, p)]
    matrices = [p for name, p in named.items() if not _is_vector(name, p)]
    groups = [
        {"params": matrices, "weight_decay": decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
