"""The search for a setting that is left open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from recolib.caching import KeyedCache


def best_on_the_way(values: Sequence[float], at: int, figure: Callable[[float], float]) -> float:
    """The value where a figure that rises and then falls is best, found from the one at a place on."""
    cache = KeyedCache[float](len(values))

    def of(place: int) -> float:
        if not 0 <= place < len(values):
            return -float("inf")
        return cache.get(place, lambda: figure(values[place]))

    step = 1 if of(at + 1) > of(at) else -1
    while of(at + step) > of(at):
        at += step
    return values[at]


def between(figures: Mapping[float, float]) -> float | None:
    """Where the parabola through the best figure and its neighbours is highest, by the logarithm of the values.

    None where the best value has no neighbour on one side, or the parabola has no top between them.
    """
    values = sorted(figures)
    at = max(range(len(values)), key=lambda place: figures[values[place]])
    if not 0 < at < len(values) - 1:
        return None
    (x0, x1, x2), (y0, y1, y2) = (
        [of(value) for value in values[at - 1 : at + 2]] for of in (math.log, lambda value: figures[value])
    )
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    if left <= right:
        return None
    return math.exp((x0 + x1) / 2 + left * (x2 - x0) / 2 / (left - right))
