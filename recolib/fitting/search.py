"""The search for a setting that is left open."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
