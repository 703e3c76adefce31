"""The terms that networks are sums of."""

from recolib.nn.components.attentive import Attention, AttentivePairs, AttentiveState
from recolib.nn.components.component import (
    Component,
    Contributions,
    InnerProduct,
    Joined,
    cross,
    cross_fields,
    linear_of_products,
)
from recolib.nn.components.crossing import CrossLayers, CrossState
from recolib.nn.components.deep import Deep, DeepState
from recolib.nn.components.interaction_aware import InteractionAware, InteractionLayers
from recolib.nn.components.item_to_item import ItemToItem, ItemToItemState
from recolib.nn.components.linear import Linear, LinearState
from recolib.nn.components.pairwise import Pairwise, PairwiseState, own_pairs
from recolib.nn.components.pooled import Pooled, PooledState
from recolib.nn.components.self_attention import AttentionLayer, SelfAttention, SelfAttentionState
from recolib.nn.components.sequence import CausalLayer, SequenceEncoder, SequenceState
from recolib.nn.components.target_attention import TargetAttention, TargetAttentionState
from recolib.nn.components.towers import Towers, TowersState
from recolib.nn.components.two_streams import (
    GatedStreams,
    GatedStreamsState,
    Stream,
    Streams,
    TwoStreams,
    TwoStreamsState,
)

__all__ = [
    "Attention",
    "AttentionLayer",
    "AttentivePairs",
    "AttentiveState",
    "CausalLayer",
    "Component",
    "Contributions",
    "CrossLayers",
    "CrossState",
    "Deep",
    "DeepState",
    "GatedStreams",
    "GatedStreamsState",
    "InnerProduct",
    "InteractionAware",
    "InteractionLayers",
    "ItemToItem",
    "ItemToItemState",
    "Joined",
    "Linear",
    "LinearState",
    "Pairwise",
    "PairwiseState",
    "Pooled",
    "PooledState",
    "SelfAttention",
    "SelfAttentionState",
    "SequenceEncoder",
    "SequenceState",
    "Stream",
    "Streams",
    "TargetAttention",
    "TargetAttentionState",
    "Towers",
    "TowersState",
    "TwoStreams",
    "TwoStreamsState",
    "cross",
    "cross_fields",
    "linear_of_products",
    "own_pairs",
]
