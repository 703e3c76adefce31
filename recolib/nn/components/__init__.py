"""The terms that networks are sums of."""

from recolib.nn.components.attentive import Attention, AttentivePairs, AttentiveState
from recolib.nn.components.component import Component, Joined, cross, cross_fields
from recolib.nn.components.deep import Deep, DeepState
from recolib.nn.components.interaction_aware import InteractionAware, InteractionLayers
from recolib.nn.components.linear import Linear, LinearState
from recolib.nn.components.pairwise import Pairwise, PairwiseState, own_pairs
from recolib.nn.components.pooled import Pooled, PooledState

__all__ = [
    "Attention",
    "AttentivePairs",
    "AttentiveState",
    "Component",
    "Deep",
    "DeepState",
    "InteractionAware",
    "InteractionLayers",
    "Joined",
    "Linear",
    "LinearState",
    "Pairwise",
    "PairwiseState",
    "Pooled",
    "PooledState",
    "cross",
    "cross_fields",
    "own_pairs",
]
