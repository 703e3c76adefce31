"""The worlds of ``recolib.testing``, and what else tests need."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pandas as pd
import torch

from recolib.nn import Network
from recolib.recommender import Recommender
from recolib.testing.worlds import COLUMNS, KINDS, N_ITEMS, N_USERS, World, make_world, rated, two_tastes

__all__ = [
    "COLUMNS",
    "HASHES_NUL",
    "KINDS",
    "N_ITEMS",
    "N_USERS",
    "PANDAS",
    "World",
    "make_world",
    "rated",
    "two_tastes",
    "with_network",
]

PANDAS = int(pd.__version__.split(".")[0])
HASHES_NUL = PANDAS >= 3
"""Before pandas 3, text was hashed up to its first NUL: ids that differ behind one were one."""


def with_network(model: Recommender, change: Callable[[Network], object]) -> Recommender:
    """Another model like this one, whose network was changed; the model itself never changes."""
    other, network = copy.copy(model), copy.deepcopy(model.engine.network)
    with torch.no_grad():
        change(network)
    other._engine = other._engine_of(network.eval())  # pyright: ignore[reportPrivateUsage]
    return other
