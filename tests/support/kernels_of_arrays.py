"""Kernels that tests call with NumPy arrays."""

from __future__ import annotations

from mambair_cli.kernels.numba_compiler import kernel, machine_code


def compiled(floats: int, shorts: tuple[int, ...] = ()):
    """A function of arrays and integers, made of one for kernels."""

    def typed(function):
        entry = machine_code(kernel(floats=floats)(function), shorts).loaded()

        def call(*arguments):
            entry(*(a if isinstance(a, int) else a.ctypes.data for a in arguments))

        return call

    return typed
