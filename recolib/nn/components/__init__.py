"""The terms that networks are sums of."""

from recolib.nn.components.component import Component, Joined, cross
from recolib.nn.components.deep import Deep, DeepState
from recolib.nn.components.linear import Linear, LinearState
from recolib.nn.components.pairwise import Pairwise, PairwiseState, own_pairs
from recolib.nn.components.pooled import Pooled, PooledState

__all__ = [
    "Component",
    "Deep",
    "DeepState",
    "Joined",
    "Linear",
    "LinearState",
    "Pairwise",
    "PairwiseState",
    "Pooled",
    "PooledState",
    "cross",
    "own_pairs",
]
