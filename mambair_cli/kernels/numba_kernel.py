"""The kernels of a CPU: read from disk as machine code, or compiled, when they are first called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

from mambair_cli.kernels import numba_cache
from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.machine_code import Entry, MachineCode

# Numba compiles one at a time anyway.
_compiling = threading.RLock()
# Told the name of each kernel before it is compiled.
on_compiling: list[Callable[[str], None]] = []


class Kernel:
    """A function for Numba, compiled or loaded when it is first called.

    Args:
        module: Where it is defined, decorated with `numba_compiler.kernel`.
        name: What it is called there.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self._entries: dict[tuple[int, ...], Entry] = {}

    @property
    def entry(self) -> Entry:
        """What to call with addresses of float32 values and integers.

        Raises:
            BackendError: It cannot be compiled.
        """
        return self.entry_for(())

    def entry_for(self, shorts: tuple[int, ...]) -> Entry:
        """Return what to call where some addresses are those of bfloat16 values.

        Args:
            shorts: Which of its arguments these are.

        Raises:
            BackendError: It cannot be compiled.
        """
        if shorts not in self._entries:
            with _compiling:
                if shorts not in self._entries:
                    self._entries[shorts] = self._loaded(shorts)
        return self._entries[shorts]

    def _loaded(self, shorts: tuple[int, ...]) -> Entry:
        made_for = f"{target()} {target().instruction_set} {shorts}"
        key = f"{self.module}.{self.name} {made_for}".encode()
        name = f"{self.module.rpartition('.')[2]}.{self.name}"
        payload = numba_cache.read(name, key)
        if payload is None:
            payload = self._compiled(shorts).packed()
            numba_cache.keep(name, key, payload)
        return MachineCode.unpacked(payload).loaded()

    def _compiled(self, shorts: tuple[int, ...]) -> MachineCode:
        from mambair_cli.kernels.numba_compiler import machine_code

        for tell in on_compiling:
            tell(self.name)
        return machine_code(getattr(import_module(self.module), self.name), shorts)
