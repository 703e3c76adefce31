"""Networks: fields, embeddings and two-sided components; nothing of ids or frames."""

from recolib.nn.components import (
    Attention,
    Component,
    Deep,
    InteractionAware,
    InteractionLayers,
    Joined,
    Linear,
    Pairwise,
    Pooled,
)
from recolib.nn.embedding import CodeField, FieldEmbedding, SideLayout
from recolib.nn.fields import Fields, FieldSpec, Side, State
from recolib.nn.mlp import BatchNorm
from recolib.nn.network import Network, NetworkState

__all__ = [
    "Attention",
    "BatchNorm",
    "CodeField",
    "Component",
    "Deep",
    "FieldEmbedding",
    "FieldSpec",
    "Fields",
    "InteractionAware",
    "InteractionLayers",
    "Joined",
    "Linear",
    "Network",
    "NetworkState",
    "Pairwise",
    "Pooled",
    "Side",
    "SideLayout",
    "State",
]
