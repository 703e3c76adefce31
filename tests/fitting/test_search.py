from __future__ import annotations

import math

import pytest

from recolib.fitting.search import best_on_the_way, between

VALUES = [2.0**power for power in range(8)]


@pytest.mark.parametrize("best", VALUES)
@pytest.mark.parametrize("at", [0, 3, 7])
def test_the_best_value_is_found_from_anywhere_and_none_is_tried_twice(best, at):
    tried = list[float]()

    def figure(value: float) -> float:
        tried.append(value)
        return -abs(math.log(value / best))

    assert best_on_the_way(VALUES, at, figure) == best
    assert len(tried) == len(set(tried))


def test_the_top_of_a_parabola_is_found_from_three_of_its_points():
    figures = {value: 3 - (math.log(value) - math.log(5.0)) ** 2 for value in (2.0, 4.0, 8.0)}
    assert between(figures) == pytest.approx(5.0)
    assert between(figures | {1.0: -9.0, 16.0: -8.0}) == pytest.approx(5.0)


def test_there_is_no_top_beyond_what_was_tried():
    assert between({1.0: 3.0, 2.0: 2.0}) is None
    assert between({1.0: 1.0, 2.0: 2.0}) is None
    assert between({1.0: 2.0, 2.0: 2.0, 4.0: 2.0}) is None
