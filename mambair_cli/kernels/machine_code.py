"""Machine code of a kernel: LLVM alone loads it, and it runs outside of the interpreter's lock."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Self

from llvmlite import binding

from mambair_cli.kernels import parts
from mambair_cli.kernels.instruction_set import target

_RESULT, _EXCEPTION = ctypes.c_void_p(), ctypes.c_void_p()


@dataclass(frozen=True)
class Entry:
    """A kernel in memory.

    Attributes:
        call: Runs it; as Numba has it, where the result goes, which is None, and an exception come
            before its arguments.
        address: Where it lies.
        take_parts: Runs parts of its tasks, given the address of what `parts.shared` laid out.
        engine: What owns its code.
    """

    call: Any
    address: int
    take_parts: Any
    engine: Any

    def __call__(self, *numbers: int) -> None:
        """Run it; numbers and addresses are Python integers."""
        self.call(ctypes.addressof(_RESULT), ctypes.addressof(_EXCEPTION), *numbers)


@dataclass(frozen=True)
class MachineCode:
    """A kernel that was compiled.

    Attributes:
        symbol: What its content calls it.
        arguments: How many it takes, pointers and integers of 64 bits.
        content: An object file.
        taking: The object file of `parts` for as many arguments.
    """

    symbol: str
    arguments: int
    content: bytes
    taking: bytes

    def packed(self) -> bytes:
        """Put it together for a file."""
        head = f"{self.symbol} {self.arguments} {len(self.content)}\n"
        return head.encode() + self.content + self.taking

    @classmethod
    def unpacked(cls, payload: bytes) -> Self:
        """Take apart what `packed` put together."""
        head, _, objects = payload.partition(b"\n")
        symbol, arguments, size = head.decode().split()
        return cls(symbol, int(arguments), objects[: int(size)], objects[int(size) :])

    def loaded(self) -> Entry:
        """Make it callable.

        Raises:
            RuntimeError: LLVM cannot run machine code here.
        """
        machine = target().machine()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        for content in (self.content, self.taking):
            engine.add_object_file(binding.ObjectFileRef.from_data(content))
        engine.finalize_object()
        kernel, taking = map(engine.get_function_address, (self.symbol, parts.SYMBOL))
        assert kernel, self.symbol
        assert taking, self.symbol
        pointers = [ctypes.c_void_p, ctypes.c_void_p]
        numbers = [ctypes.c_int64] * self.arguments
        call = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *numbers)(kernel)
        take_parts = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(taking)
        return Entry(call, kernel, take_parts, engine)
