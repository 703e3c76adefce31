"""The worlds of ``recolib.testing``, and what else tests need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from recolib.nn import Network
from recolib.recommender import Recommender
from recolib.testing.worlds import COLUMNS, KINDS, N_ITEMS, N_USERS, World, make_world, rated, two_tastes

__all__ = [
    "COLUMNS",
    "FLOAT32",
    "HASHES_NUL",
    "KINDS",
    "N_ITEMS",
    "N_USERS",
    "PANDAS",
    "World",
    "assert_same_list",
    "make_world",
    "near_ties",
    "rated",
    "two_tastes",
    "with_network",
]

PANDAS = int(pd.__version__.split(".")[0])
HASHES_NUL = PANDAS >= 3
"""Before pandas 3, text was hashed up to its first NUL: ids that differ behind one were one."""


FLOAT32: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
"""How far two float32 scores of one pair may lie apart, the sums of some hundred terms being taken in any order."""


def assert_same_list(one: Sequence[Any], other: Sequence[Any]) -> None:
    """Two lists, each (items, scores), are the same but for items nearer to each other than float32 tells apart.

    If no score moves by more than ε, then neither does the score at any place, and an item that only one list has lies
    within 2ε of the other's end.
    """
    (items, scores), (other_items, other_scores) = ([list(part) for part in pair] for pair in (one, other))
    np.testing.assert_allclose(scores, other_scores, **FLOAT32)
    mine, its = dict(zip(items, scores, strict=True)), dict(zip(other_items, other_scores, strict=True))
    assert len(mine) == len(its) == len(items)
    for item in mine.keys() | its.keys():
        ends = mine.get(item, scores[-1]), its.get(item, other_scores[-1])
        np.testing.assert_allclose(*ends, rtol=2 * FLOAT32["rtol"], atol=2 * FLOAT32["atol"], err_msg=str(item))


def near_ties(labels: Any, scores: Any) -> float:
    """The share of pairs of a positive and a negative that float32 cannot order: by so much an AUC may differ."""
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    positive, negative = scores[labels == 1][:, None], scores[labels == 0]
    error = FLOAT32["atol"] + FLOAT32["rtol"] * np.abs(positive)
    return float(np.mean(np.abs(positive - negative) <= 2 * error))


def with_network(model: Recommender, change: Callable[[Network], object]) -> Recommender:
    """Another model like this one, whose network was changed; the model itself never changes."""
    other, network = copy.copy(model), copy.deepcopy(model.engine.network)
    with torch.no_grad():
        change(network)
    other._engine = other._engine_of(network.eval())  # pyright: ignore[reportPrivateUsage]
    return other
