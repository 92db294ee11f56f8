"""Machine code of a kernel: LLVM alone loads it, and it runs outside of the interpreter's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from llvmlite import binding

from mambair_cli.kernels.instruction_set import target

Entry = Callable[..., Any]
_RESULT, _EXCEPTION = ctypes.c_void_p(), ctypes.c_void_p()


@dataclass(frozen=True)
class MachineCode:
    """A kernel that was compiled.

    Attributes:
        symbol: What its content calls it.
        arguments: How many it takes, pointers and integers of 64 bits.
        content: An object file.
    """

    symbol: str
    arguments: int
    content: bytes

    def packed(self) -> bytes:
        """Put it together for a file."""
        return f"{self.symbol} {self.arguments}\n".encode() + self.content

    @classmethod
    def unpacked(cls, payload: bytes) -> Self:
        """Take apart what `packed` put together."""
        head, _, content = payload.partition(b"\n")
        symbol, arguments = head.decode().split()
        return cls(symbol, int(arguments), content)

    def loaded(self) -> Entry:
        """Make it callable; its numbers and addresses are Python integers.

        Raises:
            RuntimeError: LLVM cannot run machine code here.
        """
        engine = _new_engine()
        engine.add_object_file(binding.ObjectFileRef.from_data(self.content))
        engine.finalize_object()
        address = engine.get_function_address(self.symbol)
        assert address, self.symbol
        pointers = [ctypes.c_void_p, ctypes.c_void_p]
        numbers = [ctypes.c_int64] * self.arguments
        entry: Any = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *numbers)(address)
        entry.engine = engine  # the code lives as long as it
        # As Numba calls functions: where the result goes, which is None, and an exception.
        return partial(entry, ctypes.addressof(_RESULT), ctypes.addressof(_EXCEPTION))


def _new_engine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    wanted = target()
    here = binding.Target.from_triple(wanted.triple)
    machine = here.create_target_machine(wanted.cpu, wanted.features, jit=True)
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
