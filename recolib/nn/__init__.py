"""Networks: fields, embeddings and two-sided components; nothing of ids or frames."""

from recolib.nn.components import (
    Attention,
    Component,
    Contributions,
    CrossLayers,
    Deep,
    GatedStreams,
    InteractionAware,
    InteractionLayers,
    ItemToItem,
    Joined,
    Linear,
    Pairwise,
    Pooled,
    SelfAttention,
    SequenceEncoder,
    TargetAttention,
    Towers,
    TwoStreams,
)
from recolib.nn.embedding import CodeField, FieldEmbedding, SideLayout
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import BatchNorm
from recolib.nn.network import Network, NetworkState, Precision, state_of

__all__ = [
    "Attention",
    "BatchNorm",
    "CodeField",
    "Component",
    "Contributions",
    "CrossLayers",
    "Deep",
    "FieldEmbedding",
    "FieldSpec",
    "Fields",
    "GatedStreams",
    "InteractionAware",
    "InteractionLayers",
    "ItemToItem",
    "Joined",
    "Linear",
    "Network",
    "NetworkSide",
    "NetworkState",
    "Pairwise",
    "Pooled",
    "Precision",
    "SelfAttention",
    "SequenceEncoder",
    "SideLayout",
    "State",
    "TargetAttention",
    "Towers",
    "TwoStreams",
    "state_of",
]
