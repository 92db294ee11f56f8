"""What kernels ask of parameters: whether gradients are wanted, and what is made of frozen ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from mambair_cli.errors import BackendError

Made = TypeVar("Made")

_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def recorded(tensors: Iterable[Tensor]) -> bool:
    """Tell whether autograd records what is computed from these tensors.

    To be asked before `Function.apply`: inside of it grad mode is off, and `needs_input_grad` is
    true for parameters in training even where `torch.no_grad` keeps nothing of what is saved.
    """
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def refuse_export(backend: str) -> None:
    """Refuse that kernels are made part of a program that leaves PyTorch.

    Raises:
        BackendError: The network is being exported or traced.
    """
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or torch.compiler.is_exporting():
        raise BackendError(
            f"scan backend {backend!r} cannot be exported: its kernels are not PyTorch's",
            'export a network that was loaded with scan="torch"',
        )


def keeps(parameter: Tensor) -> bool:
    """Tell whether `made_once` keeps what it makes of a parameter.

    Not for one that requires gradients: fused optimizers change it unnoticed. Nor for one made in
    inference mode, which counts no changes, nor while a network is exported, where the making is
    part of the program.
    """
    uncountable = parameter.is_inference() and isinstance(parameter, nn.Parameter)
    return not (parameter.requires_grad or uncountable or torch.compiler.is_compiling())


def made_once(parameter: Tensor, make: Callable[[Tensor], Made], what: str = "") -> Made:
    """Make something of a parameter; of a frozen one keep it until the parameter changes.

    Where `keeps` says no it is made each time. A change through `.data` is not counted either:
    after one, `network.load_state_dict(network.state_dict())` has everything made anew.

    Args:
        parameter: Any tensor.
        make: The same function at every call for one parameter and `what`.
        what: Tells apart what several backends make of one parameter; the last one is kept.

    Returns:
        `make(parameter)`.
    """
    if not keeps(parameter):
        return make(parameter)
    version = 0 if parameter.is_inference() else parameter._version  # noqa: SLF001
    state = (version, parameter.data_ptr(), parameter.device, parameter.dtype, what)
    known = _kept.get(parameter)  # type: ignore[no-untyped-call]
    if known is None or known[0] != state:
        # An ordinary tensor even when it is made in inference mode: gradients of the input may be
        # asked for later.
        with torch.inference_mode(mode=False), torch.no_grad():
            known = _kept[parameter] = state, make(parameter)
    made: Made = known[1]
    return made
