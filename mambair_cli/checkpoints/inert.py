"""Stand-ins for what trainers pickle beside weights: read over, never built, never run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

# Settings, places, dates and counters. A stand-in is taken by its name alone: nothing of these
# modules is imported.
_INERT = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib(\._local)?\.\w+Path|datetime\.\w+"
    r"|decimal\.Decimal|uuid\.UUID|collections\.(defaultdict|deque)"
    r"|(builtins\.)?(list|dict|tuple|int|float|str|bool|set|frozenset|complex|slice|range)"
    r"|numpy\.(_core|core)\.multiarray\.scalar|numpy\.dtype|numpy\.dtypes\.\w+"
    r"|numpy\.(bool_?|u?int\d+|float\d+|str_)"
    r"|(omegaconf|easydict|addict|yacs|mmengine|mmcv|pytorch_lightning|lightning|lightning_fabric)"
    r"\.[\w.]+",
    re.ASCII,
)
# Classes whose items the reader puts into dictionaries only.
_DICTIONARY = re.compile(r"dict$|Dict$|CfgNode$")


StandIn = tuple[Callable[..., Any], str]


class Inert:
    """Something that is no weight; takes whatever is said of it and keeps none."""

    def __new__(cls, *_: Any) -> Self:  # noqa: D102
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


class _Items:
    """A dictionary of a class of its own; becomes a plain one."""

    def __new__(cls, *_: Any) -> Any:
        return {}


def stand_in_for(name: str) -> StandIn | None:
    """Give what the restricted reader may take for a class or function; None where it may not.

    Args:
        name: As the reader spells it, `module.name`.

    Returns:
        The stand-in, and the name that it stands for in a pickle.
    """
    if not _INERT.fullmatch(name):
        return None
    full = name if "." in name else f"builtins.{name}"
    return (_Items if _DICTIONARY.search(name) else Inert), full
