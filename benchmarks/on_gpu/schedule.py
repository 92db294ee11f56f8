"""Runs steps in their order within a budget of seconds, and leaves out what no longer fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from on_gpu.steps import Step

LEFT_OUT = "left out: no time"
# A step is begun with this share of its limit left: its first figures are the important ones.
WORTHWHILE = 0.5
RESERVE = 3.0  # seconds for ending processes and writing the result


class Performer(Protocol):
    """What runs steps."""

    def begin(self, step: Step) -> None:
        """Starts a step and does not wait for it."""

    def finish(self, step: Step, seconds: float) -> dict[str, Any]:
        """Waits for a step, which it starts if need be, at most so long; returns its result."""


def perform(
    steps: Sequence[Step],
    performer: Performer,
    budget: float,
    clock: Callable[[], float],
    on_result: Callable[[Step, dict[str, Any]], None],
    slower: float = 1.0,
) -> None:
    """Runs what fits.

    Args:
        steps: Most valuable first.
        performer: Runs them.
        budget: Seconds for all of them, from now on.
        clock: Tells seconds.
        on_result: Called with each step, in their order, and its result.
        slower: What limits of steps are multiplied by.
    """
    end = clock() + budget - RESERVE
    for step in steps:
        for other in steps:
            if other.beside == step.name:
                performer.begin(other)
        left, limit = end - clock(), step.limit * slower
        if left < WORTHWHILE * limit:
            result: dict[str, Any] = {"outcome": LEFT_OUT, "took_s": 0.0, "figures": {}, "log": ""}
        else:
            result = performer.finish(step, min(limit, left))
        on_result(step, result)
