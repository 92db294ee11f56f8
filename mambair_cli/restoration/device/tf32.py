"""Whether float32 products on NVIDIA GPUs may be rounded to TF32, which is one setting per process.

torch has two interfaces to it and fails where they are mixed: `fp32_precision` from 2.9 on, and the
`allow_tf32` flags before. Unless told otherwise it rounds convolutions, and matrix products not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Setting = tuple[Any, Any]


class SharedSetting:
    """A setting of the process that several threads may want at once, one for each GPU.

    Threads that want the same value share it, a thread that wants another one waits for them, and
    the last to leave puts back what was found.

    Args:
        read: Returns the setting.
        write: Changes it.
    """

    def __init__(self, read: Callable[[], Setting], write: Callable[[Setting], None]) -> None:
        self._read, self._write = read, write
        self._changed = threading.Condition()
        self._inside: list[int] = []
        self._found = self._wanted = (None, None)

    @contextmanager
    def being(self, wanted: Setting) -> Iterator[None]:
        """Have the setting be `wanted` inside the context; two values must not be nested."""
        thread = threading.get_ident()
        with self._changed:
            nested = thread in self._inside and self._wanted != wanted
            assert not nested, "this thread would wait for itself"
            self._changed.wait_for(lambda: not self._inside or self._wanted == wanted)
            if not self._inside:
                self._found, self._wanted = self._read(), wanted
                self._write(wanted)
            self._inside.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._inside.remove(thread)
                if not self._inside:
                    self._write(self._found)
                self._changed.notify_all()


def _has_new_interface() -> bool:
    return hasattr(torch.backends.cuda.matmul, "fp32_precision")


def _switches() -> tuple[str, Any, Any]:
    """Find the attribute that holds the setting, and the two objects that have it."""
    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if _has_new_interface():
        return "fp32_precision", products, getattr(cudnn, "conv")  # noqa: B009 - unknown to mypy
    return "allow_tf32", products, cudnn


def _read() -> Setting:
    name, products, convolutions = _switches()
    return getattr(products, name), getattr(convolutions, name)


def _write(setting: Setting) -> None:
    name, *switches = _switches()
    for switch, value in zip(switches, setting, strict=True):
        setattr(switch, name, value)


_SETTING = SharedSetting(_read, _write)


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Have float32 matrix products and convolutions exact in this context, or in TF32.

    Args:
        tf32: Round the factors to TF32 (10 bits of mantissa instead of 23).
    """
    value = ("tf32" if tf32 else "ieee") if _has_new_interface() else tf32
    with _SETTING.being((value, value)):
        yield
