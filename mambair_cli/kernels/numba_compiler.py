"""Compiles kernels with Numba; imported only where no folder has their machine code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from types import FunctionType

import numba
from numba import float32, int64, types, uint16
from numba.core.errors import NumbaError

from mambair_cli.errors import BackendError
from mambair_cli.kernels import parts
from mambair_cli.kernels.machine_code import MachineCode

# What LLVM makes of loops that fill or copy memory.
C_LIBRARY = ("memset", "memcpy", "memmove")

Typed = Callable[[FunctionType], FunctionType]


def kernel(*, floats: int, integers: int = 0) -> Typed:
    """Say what a kernel takes: pointers to float32 values, to int64 values, then int64 numbers.

    Args:
        floats: How many pointers to float32 values come first.
        integers: How many pointers to int64 values come next.
    """

    def typed(function: FunctionType) -> FunctionType:
        numbers = len(inspect.signature(function).parameters) - floats - integers
        pointers = [types.CPointer(float32)] * floats + [types.CPointer(int64)] * integers
        function.signature = types.void(*pointers, *[int64] * numbers)  # type: ignore[attr-defined]
        return function

    return typed


def machine_code(function: FunctionType, shorts: Collection[int] = ()) -> MachineCode:
    """Compile a kernel to machine code that needs nothing of Python.

    Args:
        function: Decorated with `kernel`.
        shorts: Which of its arguments are pointers to bfloat16 instead of float32.

    Raises:
        BackendError: It cannot be compiled.
    """
    declared = function.signature.args  # type: ignore[attr-defined]
    given = (types.CPointer(uint16) if i in shorts else each for i, each in enumerate(declared))
    signature = types.void(*given)
    dispatcher = numba.njit(
        signature,
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )
    try:
        (compiled,) = dispatcher(function).overloads.values()
    except (NumbaError, OSError, RuntimeError, ValueError) as error:
        raise BackendError(
            f"{function.__name__} cannot be compiled: {error}",
            "use --scan torch, which compiles nothing",
        ) from error
    library, symbol = compiled.library, compiled.fndesc.llvm_func_name
    assert not (needed := _needed_symbols(library.get_llvm_str())), needed
    content = library._get_compiled_object()  # noqa: SLF001
    arguments = len(signature.args)
    # The last two are the first of its tasks and the one after its last.
    return MachineCode(symbol, arguments, content, parts.object_file(arguments - 2))


def _needed_symbols(text: str) -> list[str]:
    """List what LLVM's text of a kernel calls that no process without Numba has."""
    declared = re.findall(r'^declare .*@"?([^"(]+)"?\(', text, re.MULTILINE)
    return [name for name in declared if not name.startswith("llvm.") and name not in C_LIBRARY]
