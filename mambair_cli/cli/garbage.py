"""Python's search for garbage: a start makes hundreds of thousands of objects that all last."""

from __future__ import annotations

import gc

# New objects before a search: more than any start makes.
_OF_A_START = 10_000_000
_usual = gc.get_threshold()


def begin_start() -> None:
    """Search for no garbage while modules are imported: what they make stays until the end."""
    gc.set_threshold(_OF_A_START)


def end_start() -> None:
    """Search again as usual, but not among what there is now."""
    gc.freeze()
    gc.set_threshold(*_usual)
