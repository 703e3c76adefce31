"""Checks of algorithms and components of one's own; they need no test runner."""

from recolib.testing.algorithms import check_algorithm
from recolib.testing.components import check_component
from recolib.testing.worlds import World, make_world

__all__ = ["World", "check_algorithm", "check_component", "make_world"]
