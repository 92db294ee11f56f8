"""Matrix weights kept in half precision beside the float32 ones, so that no run casts them again.

Autocast casts the weights of every product each time it runs: it keeps a cast only for weights that
are being trained. The copies are what it would make, so the results are the same bits. They take
half as much memory as the float32 weights that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mambair_cli.networks.layers import ChannelAttention
from mambair_cli.networks.ss2d import SS2D

Copies = dict[str, Tensor]

_COPIES: WeakKeyDictionary[nn.Module, tuple[object, dict[torch.dtype, Copies]]] = (
    WeakKeyDictionary()
)


def frozen_state(network: nn.Module) -> tuple[object, ...] | None:
    """What changes whenever the weights of a network, or its scan, do.

    Args:
        network: Any module.

    Returns:
        Something to compare with an earlier one; None where a change could go unnoticed: fused
        optimizers change what they train without counting it, and inference tensors count nothing.
    """
    tensors = [*network.parameters(), *network.buffers()]
    if any(tensor.requires_grad or tensor.is_inference() for tensor in tensors):
        return None
    weights = ((t.data_ptr(), t.dtype, t._version) for t in tensors)  # noqa: SLF001
    return *weights, *(m.scan for m in network.modules() if isinstance(m, SS2D))


def with_half_weights(network: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Returns a network whose matrix products need no casts under autocast.

    Norms, depth-wise kernels, the channel attention's gate and what makes the scan's state
    (`A_logs`, `Ds`, `dt_projs_*`) stay float32, as the kernels read them. Weights that could change
    unnoticed are not copied.

    Args:
        network: A float32 network.
        dtype: `torch.bfloat16` or `torch.float16`.

    Returns:
        What the network computes, with the copies in place of its weights while it runs; valid
        until the weights change.
    """
    state = frozen_state(network)
    if state is None:
        return network
    known, by_type = _COPIES.get(network, (None, {}))
    if known != state:
        by_type = {}
        _COPIES[network] = state, by_type
    if dtype not in by_type:
        with torch.no_grad():
            by_type[dtype] = {name: weight.to(dtype) for name, weight in _matrices(network)}
    copies = by_type[dtype]

    def run(x: Tensor) -> Tensor:
        restored: Tensor = functional_call(network, copies, (x,))
        return restored

    return run


def _matrices(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    gates = (m for m in network.modules() if isinstance(m, ChannelAttention))
    excluded = {layer for gate in gates for layer in gate.modules()}
    for prefix, module in network.named_modules():
        for name in () if module in excluded else _matrix_names(module):
            yield f"{prefix}.{name}".lstrip("."), getattr(module, name)


def _matrix_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, SS2D):
        return ("x_proj_weight",)
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
        return ("weight",) if module.bias is None else ("weight", "bias")
    return ()
