"""The terms that networks are sums of."""

from recolib.nn.components.component import Component, Joined, cross
from recolib.nn.components.deep import Deep, DeepState
from recolib.nn.components.linear import Linear, LinearState
from recolib.nn.components.pairwise import Pairwise, PairwiseState, own_pairs

__all__ = [
    "Component",
    "Deep",
    "DeepState",
    "Joined",
    "Linear",
    "LinearState",
    "Pairwise",
    "PairwiseState",
    "cross",
    "own_pairs",
]
