"""Matrix weights kept in half precision beside the float32 ones, so that no run casts them again.

Autocast casts the weights of every product each time it runs: it keeps a cast only for weights that
are being trained. The copies are what it would make, so the results are the same bits. They take
half as much memory as the float32 weights that they stand for.
"""

from __future__ import annotations

import copy
import threading
from itertools import chain
from weakref import WeakKeyDictionary

import torch
from torch import nn

from mambair_cli.networks.attentive import AttentiveStateSpace
from mambair_cli.networks.layers import ChannelAttention
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.restoration.device import aligned

_TWINS: WeakKeyDictionary[nn.Module, tuple[object, dict[torch.dtype, nn.Module]]] = (
    WeakKeyDictionary()
)
# Images side by side ask for the same ones.
_making = threading.Lock()


def frozen_state(network: nn.Module) -> tuple[object, ...] | None:
    """Return what changes whenever the weights of a network, its scan, or its routing, do.

    Args:
        network: Any module.

    Returns:
        Something to compare with an earlier one; None where a change could go unnoticed: fused
        optimizers change what they train without counting it, and inference tensors count nothing.
    """
    state: list[object] = []
    # This runs for every image; `parameters()` alone would take longer than all of it.
    for module in network.modules():
        for tensor in chain(module._parameters.values(), module._buffers.values()):  # noqa: SLF001
            if tensor is None:
                continue
            if tensor.requires_grad or tensor.is_inference():
                return None
            state.append((tensor.data_ptr(), tensor._version))  # noqa: SLF001
        if isinstance(module, SelectiveScan):
            state.append(module.scan)
        elif isinstance(module, AttentiveStateSpace):
            state.append(module.sampled)
    return tuple(state)


def with_half_weights(network: nn.Module, dtype: torch.dtype, state: object) -> nn.Module:
    """Return a network whose matrix products need no casts under autocast.

    Norms, depth-wise kernels, the channel attention's gate and what makes the scan's state
    (`A_logs`, `Ds`, `dt_projs_*`) stay float32, as the kernels read them.

    Args:
        network: A float32 network.
        dtype: `torch.bfloat16` or `torch.float16`.
        state: Its `frozen_state`; the weights of an unfrozen network are not copied.

    Returns:
        A network that shares everything else with it; valid until the weights change.
    """
    if state is None:
        return network
    with _making:
        known, twins = _TWINS.get(network, (None, {}))
        if known != state:
            twins = {}
            _TWINS[network] = state, twins
        if dtype not in twins:
            device = next(network.parameters()).device
            # Not as inference tensors, whose changes are not counted.
            with torch.inference_mode(mode=False), torch.no_grad():
                twins[dtype] = _twin(network, dtype, aligned_rows=aligned.on(device))
        return twins[dtype]


def _twin(module: nn.Module, dtype: torch.dtype, *, aligned_rows: bool) -> nn.Module:
    twin = copy.copy(module)
    halved = {
        name: nn.Parameter(getattr(module, name).to(dtype), requires_grad=False)
        for name in _matrix_names(module)
    }
    twin._parameters = {**module._parameters, **halved}  # noqa: SLF001
    if aligned_rows and halved:
        aligned.align(twin)
    if not isinstance(module, ChannelAttention):
        twin._modules = {  # noqa: SLF001
            name: None if child is None else _twin(child, dtype, aligned_rows=aligned_rows)
            for name, child in module._modules.items()  # noqa: SLF001
        }
    return twin


def _matrix_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, SelectiveScan):
        return ("x_proj_weight",)
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
        return ("weight",) if module.bias is None else ("weight", "bias")
    return ()
